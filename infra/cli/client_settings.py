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
    """The settings of a client, as a file to save; where a secret belongs it names BIANHE_PASSWORD or a placeholder."""
    ca = profile.ca_file
    return Template(_TEMPLATES[client]).substitute(
        department=profile.department,
        group=names.group(profile.department, profile.client),
        bootstrap=profile.bootstrap,
        registry=profile.registry,
        scram=f'org.apache.kafka.common.security.scram.ScramLoginModule required username="{profile.department}"',
        protocol="SASL_SSL" if ca else "SASL_PLAINTEXT",
        **{f"ca_{place}": text.format(ca) if ca else "" for place, text in _CA.items()},
        ca_kafkajs=f"true, // start with NODE_EXTRA_CA_CERTS={ca}" if ca else "false,",
    )


_CA: Final[Mapping[str, str]] = {
    "java": "\nssl.truststore.type=PEM\nssl.truststore.location={0}"
    "\nschema.registry.ssl.truststore.type=PEM\nschema.registry.ssl.truststore.location={0}",
    "librdkafka": "\nssl.ca.location={}",
    "librdkafka_registry": "\nschema.registry.ssl.ca.location={}",
    "go": '\n\t\t"ssl.ca.location":   "{}",',
    "go_registry": '\n\tsettings.SslCaLocation = "{}"',
    "flink": "\n  'properties.ssl.truststore.type' = 'PEM',\n  'properties.ssl.truststore.location' = '{}',",
}

_JAVA = """\
# Java: kafka-clients 3.5 or newer, with Confluent's KafkaAvroDeserializer and KafkaAvroSerializer. Save as
# client.properties; the password comes from the environment, as BIANHE_PASSWORD.
# By default it reads aborted records, begins at the end of a topic, and commits what was fetched, handled or not.
config.providers=env
config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider
bootstrap.servers=$bootstrap
security.protocol=$protocol
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=$scram password="$${env:BIANHE_PASSWORD}";$ca_java
schema.registry.url=$registry
basic.auth.credentials.source=USER_INFO
basic.auth.user.info=$department:$${env:BIANHE_PASSWORD}

# to read
group.id=$group
isolation.level=read_committed
auto.offset.reset=earliest
enable.auto.commit=false
key.deserializer=org.apache.kafka.common.serialization.StringDeserializer
value.deserializer=io.confluent.kafka.serializers.KafkaAvroDeserializer

# to write: the partitioner's default is right (murmur2); a schema that the catalog does not have is refused with 409
acks=all
enable.idempotence=true
key.serializer=org.apache.kafka.common.serialization.StringSerializer
value.serializer=io.confluent.kafka.serializers.KafkaAvroSerializer
"""

_LIBRDKAFKA = """\
# librdkafka (C, C++, Python, .NET, kcat), 2.6.1 or newer: older ones cannot log in to Kafka 4 with SCRAM. Save as
# client.properties; the password goes in place of <password>, best by the program, from BIANHE_PASSWORD.
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

# to write: a schema that the catalog does not have is refused with 409
enable.idempotence=true
partitioner=murmur2_random

# for the client of the schema registry, without the prefix
schema.registry.url=$registry
schema.registry.basic.auth.user.info=$department:<password>$ca_librdkafka_registry
"""

_GO = """\
// Go: confluent-kafka-go with librdkafka 2.6.1 or newer. Save as bianhe.go beside your program; the password comes
// from the environment, as BIANHE_PASSWORD.
// By default it begins at the end of a topic, puts keys into other partitions than Java, and commits what was fetched.
// A topic without access is no error of a call: Poll returns an event with an error, which must be looked at.
// With franz-go instead: FetchIsolationLevel(ReadCommitted()) and DisableAutoCommit(); the rest is right by default.
package main

import (
	"os"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry/serde"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry/serde/avrov2"
)

func connection(more kafka.ConfigMap) *kafka.ConfigMap {
	settings := kafka.ConfigMap{
		"bootstrap.servers": "$bootstrap",
		"security.protocol": "$protocol",
		"sasl.mechanism":    "SCRAM-SHA-512",
		"sasl.username":     "$department",
		"sasl.password":     os.Getenv("BIANHE_PASSWORD"),$ca_go
	}
	for name, value := range more {
		settings[name] = value
	}
	return &settings
}

func newConsumer() (*kafka.Consumer, error) {
	return kafka.NewConsumer(connection(kafka.ConfigMap{
		"group.id":           "$group",
		"isolation.level":    "read_committed",
		"auto.offset.reset":  "earliest",
		"enable.auto.commit": false,
	}))
}

func newProducer() (*kafka.Producer, error) {
	return kafka.NewProducer(connection(kafka.ConfigMap{
		"enable.idempotence": true,
		"partitioner":        "murmur2_random",
	}))
}

func newRegistry() (schemaregistry.Client, error) {
	settings := schemaregistry.NewConfigWithBasicAuthentication(
		"$registry", "$department", os.Getenv("BIANHE_PASSWORD"))$ca_go_registry
	return schemaregistry.NewClient(settings)
}

// By default it makes a schema of its own from the message, which the catalog does not have: refused with 409.
func newSerializer(registry schemaregistry.Client) (*avrov2.Serializer, error) {
	settings := avrov2.NewSerializerConfig()
	settings.AutoRegisterSchemas = false
	settings.UseLatestVersion = true
	return avrov2.NewSerializer(registry, serde.ValueSerde, settings)
}
"""

_NODE = """\
// Node: kafkajs 2 and @confluentinc/schemaregistry. Save as bianhe.js beside your program; the password comes from the
// environment, as BIANHE_PASSWORD.
// By default it begins at the end of a topic; after a topic without access it logs and stops, and run() raises nothing:
// listen to consumer.events.CRASH.
// With @confluentinc/kafka-javascript instead (librdkafka 2.6.1 or newer; it fetches a prebuilt binary or compiles):
// the settings of --for librdkafka, where by default keys go into other partitions than Java's.
const { Kafka, Partitioners } = require('kafkajs');
const { AvroSerializer, SchemaRegistryClient, SerdeType } = require('@confluentinc/schemaregistry');

const password = process.env.BIANHE_PASSWORD;
const kafka = new Kafka({
  clientId: '$group',
  brokers: '$bootstrap'.split(','),
  ssl: $ca_kafkajs
  sasl: { mechanism: 'scram-sha-512', username: '$department', password },
});

exports.newConsumer = () => kafka.consumer({ groupId: '$group', readUncommitted: false });
exports.subscription = (topics) => ({ topics, fromBeginning: true });

exports.newProducer = () => kafka.producer({ idempotent: true, createPartitioner: Partitioners.DefaultPartitioner });

exports.newRegistry = () => new SchemaRegistryClient({
  baseURLs: ['$registry'],
  basicAuthCredentials: { credentialsSource: 'USER_INFO', userInfo: '$department:' + password },
});

// By default it makes a schema of its own from the message, which the catalog does not have: refused with 409.
exports.newSerializer = (registry) => new AvroSerializer(registry, SerdeType.VALUE, { useLatestVersion: true });
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
  'properties.sasl.jaas.config' = '$scram password="<password>";',$ca_flink
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
