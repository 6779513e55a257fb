"""Safe settings for the clients that departments use, each with what it does wrong by default."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from string import Template
from typing import Final

from bianhe.infra.settings import Profile
from bianhe.schemas import names


class Client(StrEnum):
    JAVA = "java"
    GO = "go"
    NODE = "node"
    LIBRDKAFKA = "librdkafka"
    FLINK = "flink"


def settings_for(client: Client, profile: Profile) -> str:
    """The settings of a client as text to copy; the password stands as a placeholder only."""
    tls = profile.ca_file is not None
    return Template(_TEMPLATES[client]).substitute(
        department=profile.department,
        group=names.group(profile.department, profile.client),
        bootstrap=profile.bootstrap,
        registry=profile.registry,
        jaas=f'{_SCRAM} required username="{profile.department}" password="<password>";',
        protocol="SASL_SSL" if tls else "SASL_PLAINTEXT",
        ca_properties=f"\nssl.truststore.type=PEM\nssl.truststore.location={profile.ca_file}" if tls else "",
        ca_librdkafka=f"\nssl.ca.location={profile.ca_file}" if tls else "",
        ca_go=f'\n\t"ssl.ca.location": "{profile.ca_file}",' if tls else "",
        ca_node=f"\n  'ssl.ca.location': '{profile.ca_file}'," if tls else "",
        ca_flink=f"\n  'properties.ssl.truststore.type' = 'PEM',"
        f"\n  'properties.ssl.truststore.location' = '{profile.ca_file}',"
        if tls
        else "",
    )


_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"

_JAVA = """\
# Java: kafka-clients with Confluent's KafkaAvroDeserializer and KafkaAvroSerializer.
# By default it reads aborted records, begins at the end of a topic, and commits what was fetched, handled or not.
bootstrap.servers=$bootstrap
security.protocol=$protocol
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=$jaas$ca_properties
schema.registry.url=$registry
basic.auth.credentials.source=USER_INFO
basic.auth.user.info=$department:<password>

# to read
group.id=$group
isolation.level=read_committed
auto.offset.reset=earliest
enable.auto.commit=false
key.deserializer=org.apache.kafka.common.serialization.StringDeserializer
value.deserializer=io.confluent.kafka.serializers.KafkaAvroDeserializer

# to write (the partitioner's default is right: murmur2)
acks=all
enable.idempotence=true
auto.register.schemas=false
key.serializer=org.apache.kafka.common.serialization.StringSerializer
value.serializer=io.confluent.kafka.serializers.KafkaAvroSerializer
"""

_LIBRDKAFKA = """\
# librdkafka (C, C++, Python, .NET, kcat), 2.6.1 or newer: older ones cannot log in to Kafka 4 with SCRAM.
# By default it begins at the end of a topic, puts keys into other partitions than Java, and commits what was fetched.
# A topic without access is no error of a call: it comes as a message with an error, to be looked at.
bootstrap.servers=$bootstrap
security.protocol=$protocol
sasl.mechanism=SCRAM-SHA-512
sasl.username=$department
sasl.password=<password>$ca_librdkafka

# to read
group.id=$group
isolation.level=read_committed
auto.offset.reset=earliest
enable.auto.commit=false

# to write
enable.idempotence=true
partitioner=murmur2_random

# schema registry: $registry, Basic authentication as $department; serializers with auto.register.schemas=false
"""

_GO = """\
// Go: confluent-kafka-go with librdkafka 2.6.1 or newer.
// By default it begins at the end of a topic, puts keys into other partitions than Java, and commits what was fetched.
// A topic without access is no error of a call: Poll returns a kafka.Error, which must be looked at.
consumer, err := kafka.NewConsumer(&kafka.ConfigMap{
	"bootstrap.servers": "$bootstrap",
	"security.protocol": "$protocol",
	"sasl.mechanism": "SCRAM-SHA-512",
	"sasl.username": "$department",
	"sasl.password": os.Getenv("BIANHE_PASSWORD"),$ca_go
	"group.id": "$group",
	"isolation.level": "read_committed",
	"auto.offset.reset": "earliest",
	"enable.auto.commit": false,
})
// To write: the same connection, and "enable.idempotence": true, "partitioner": "murmur2_random".
registry, err := schemaregistry.NewClient(schemaregistry.NewConfigWithBasicAuthentication(
	"$registry", "$department", os.Getenv("BIANHE_PASSWORD")))
"""

_NODE = """\
// Node: @confluentinc/kafka-javascript (librdkafka 2.6.1 or newer) and @confluentinc/schemaregistry.
// By default it begins at the end of a topic, puts keys into other partitions than Java, and commits what was fetched.
// With kafkajs instead: fromBeginning: true, autoCommit: false, and its registry's Basic authentication.
const connection = {
  'bootstrap.servers': '$bootstrap',
  'security.protocol': '$protocol',
  'sasl.mechanism': 'SCRAM-SHA-512',
  'sasl.username': '$department',
  'sasl.password': process.env.BIANHE_PASSWORD,$ca_node
};
const consumer = new Kafka().consumer({
  ...connection,
  'group.id': '$group',
  'isolation.level': 'read_committed',
  'auto.offset.reset': 'earliest',
  'enable.auto.commit': false,
});
const producer = new Kafka().producer({
  ...connection, 'enable.idempotence': true, 'partitioner': 'murmur2_random',
});
const registry = new SchemaRegistryClient({
  baseURLs: ['$registry'],
  basicAuthCredentials: {
    credentialsSource: 'USER_INFO', userInfo: '$department:' + process.env.BIANHE_PASSWORD,
  },
});
"""

_FLINK = """\
-- Flink SQL: one table per delivery topic; the columns are the items, nulls delete.
-- By default it reads aborted records.
CREATE TABLE delivered (
  entity_key STRING, bus_offset BIGINT, bus_seq BIGINT, bus_policy BIGINT,
  event_id STRING, event_kind STRING, event_time TIMESTAMP(3), event_case STRING,
  -- the granted items, in the order of the contract: bianhe contract show <resource>
  PRIMARY KEY (entity_key) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = '<delivery topic>',
  'properties.bootstrap.servers' = '$bootstrap',
  'properties.security.protocol' = '$protocol',
  'properties.sasl.mechanism' = 'SCRAM-SHA-512',
  'properties.sasl.jaas.config' = '$jaas',$ca_flink
  'properties.group.id' = '$group',
  'properties.isolation.level' = 'read_committed',
  'key.format' = 'raw',
  'value.format' = 'avro-confluent',
  'value.fields-include' = 'EXCEPT_KEY',
  'value.avro-confluent.url' = '$registry',
  'value.avro-confluent.basic-auth.credentials-source' = 'USER_INFO',
  'value.avro-confluent.basic-auth.user-info' = '$department:<password>'
);
"""

_TEMPLATES: Final[Mapping[Client, str]] = {
    Client.JAVA: _JAVA,
    Client.GO: _GO,
    Client.NODE: _NODE,
    Client.LIBRDKAFKA: _LIBRDKAFKA,
    Client.FLINK: _FLINK,
}
