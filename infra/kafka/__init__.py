"""How every room reaches Kafka: connections, clients, and the requests that librdkafka lacks."""
