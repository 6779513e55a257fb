"""What a trial machine gets instead of a data centre: a real Apache Kafka out of locked jars."""
