// A department's program in plain confluent-kafka-go; all its settings come from bianhe.go.
//
//	client read COUNT TOPIC…      prints one JSON line per record, commits what it printed
//	client publish TOPIC SCHEMA   publishes the JSON lines {"key": …, "value": …} of its input, prints a line each
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strconv"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry/serde"
	"github.com/confluentinc/confluent-kafka-go/v2/schemaregistry/serde/avrov2"
)

const idle = 60 * time.Second

type facts = map[string]any

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	registry, err := newRegistry()
	if err != nil {
		return err
	}
	if args[0] == "publish" {
		return publish(registry, args[1], args[2])
	}
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	return read(registry, count, args[2:])
}

func read(registry schemaregistry.Client, count int, topics []string) error {
	decode, err := avrov2.NewDeserializer(registry, serde.ValueSerde, avrov2.NewDeserializerConfig())
	if err != nil {
		return err
	}
	consumer, err := newConsumer()
	if err != nil {
		return err
	}
	defer consumer.Close()
	if err := consumer.SubscribeTopics(topics, nil); err != nil {
		return err
	}
	for last := time.Now(); count > 0; {
		switch event := consumer.Poll(1000).(type) {
		case *kafka.Message:
			if event.TopicPartition.Error != nil {
				return event.TopicPartition.Error
			}
			if err := tell(event, decode); err != nil {
				return err
			}
			if _, err := consumer.CommitMessage(event); err != nil {
				return err
			}
			count, last = count-1, time.Now()
		case kafka.Error:
			return event
		case nil:
			if time.Since(last) > idle {
				return fmt.Errorf("nothing came for %v", idle)
			}
		}
	}
	return nil
}

func tell(record *kafka.Message, decode *avrov2.Deserializer) error {
	topic := *record.TopicPartition.Topic
	headers := map[string]string{}
	for _, header := range record.Headers {
		headers[header.Key] = string(header.Value)
	}
	line := facts{
		"topic": topic, "partition": record.TopicPartition.Partition, "offset": record.TopicPartition.Offset,
		"key": string(record.Key), "headers": headers, "value": nil,
	}
	if record.Value != nil {
		items := facts{}
		if err := decode.DeserializeInto(topic, record.Value, &items); err != nil {
			return err
		}
		for name, item := range items {
			items[name] = plain(name, item)
		}
		line["value"] = items
	}
	return say(line)
}

func publish(registry schemaregistry.Client, topic, schemaFile string) error {
	schema, err := os.ReadFile(schemaFile)
	if err != nil {
		return err
	}
	if _, err := registry.Register(topic+"-value", schemaregistry.SchemaInfo{Schema: string(schema)}, false); err != nil {
		return err
	}
	encode, err := newSerializer(registry)
	if err != nil {
		return err
	}
	producer, err := newProducer()
	if err != nil {
		return err
	}
	defer producer.Close()
	lines := json.NewDecoder(os.Stdin)
	lines.UseNumber()
	for {
		var event struct {
			Key   string
			Value facts
		}
		if err := lines.Decode(&event); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var value []byte
		if event.Value != nil {
			items, err := typed(event.Value)
			if err != nil {
				return err
			}
			if value, err = encode.Serialize(topic, &items); err != nil {
				return err
			}
		}
		if err := send(producer, topic, event.Key, value); err != nil {
			return err
		}
	}
}

func send(producer *kafka.Producer, topic, key string, value []byte) error {
	place := kafka.TopicPartition{Topic: &topic, Partition: kafka.PartitionAny}
	receipts := make(chan kafka.Event, 1)
	if err := producer.Produce(&kafka.Message{TopicPartition: place, Key: []byte(key), Value: value}, receipts); err != nil {
		return err
	}
	place = (<-receipts).(*kafka.Message).TopicPartition
	if place.Error != nil {
		return place.Error
	}
	return say(facts{"key": key, "partition": place.Partition, "offset": place.Offset})
}

// An item as JSON shows it: a date in days and a time in milliseconds since 1970, a decimal in hundredths.
func plain(name string, item any) any {
	switch item := item.(type) {
	case time.Time:
		if name == "event_time" {
			return item.UnixMilli()
		}
		return item.Unix() / 86400
	case facts:
		// A value of a union, under the name of its type.
		for _, inner := range item {
			return plain(name, inner)
		}
	case *big.Rat:
		return new(big.Rat).Mul(item, big.NewRat(100, 1)).Num()
	}
	return item
}

func typed(items facts) (facts, error) {
	for name, item := range items {
		number, ok := item.(json.Number)
		if !ok {
			continue
		}
		whole, err := number.Int64()
		if err != nil {
			return nil, err
		}
		switch name {
		case "event_time":
			items[name] = time.UnixMilli(whole).UTC()
		case "established_on", "closed_on":
			items[name] = time.Unix(whole*86400, 0).UTC()
		case "registered_capital":
			items[name] = big.NewRat(whole, 100)
		default:
			items[name] = int(whole)
		}
	}
	return items, nil
}

func say(line facts) error {
	return json.NewEncoder(os.Stdout).Encode(line)
}
