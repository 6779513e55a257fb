import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.FileReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/**
 * A department's program in plain kafka-clients; all its settings come from client.properties.
 *
 * <p>{@code read COUNT TOPIC…} prints one JSON line per record and commits what it printed. {@code publish TOPIC SCHEMA}
 * publishes the JSON lines {"key": …, "value": …} of its input and prints a line each.
 */
public final class Client {
    private static final Duration IDLE = Duration.ofSeconds(60);
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    public static void main(String[] args) {
        try {
            Properties settings = new Properties();
            settings.load(new FileReader("client.properties", StandardCharsets.UTF_8));
            if (args[0].equals("read")) {
                read(settings, Integer.parseInt(args[1]), Arrays.asList(args).subList(2, args.length));
            } else {
                publish(settings, args[1], new Schema.Parser().parse(Files.readString(Path.of(args[2]))));
            }
        } catch (Exception error) {
            String cause = error.getCause() == null ? "" : ": " + error.getCause().getMessage();
            System.err.println("error " + error.getClass().getSimpleName() + ": " + error.getMessage() + cause);
            System.exit(1);
        }
    }

    private static void read(Properties settings, int count, List<String> topics) throws Exception {
        try (var consumer = new KafkaConsumer<String, GenericRecord>(settings)) {
            consumer.subscribe(topics);
            Instant last = Instant.now();
            for (int told = 0; told < count; ) {
                // An empty answer says nothing: it also comes at the end of a transaction.
                if (last.plus(IDLE).isBefore(Instant.now())) {
                    throw new IllegalStateException("nothing came for " + IDLE);
                }
                for (ConsumerRecord<String, GenericRecord> record : consumer.poll(Duration.ofSeconds(1))) {
                    last = Instant.now();
                    if (told++ < count) {
                        tell(record);
                        var place = new TopicPartition(record.topic(), record.partition());
                        consumer.commitSync(Map.of(place, new OffsetAndMetadata(record.offset() + 1)));
                    }
                }
            }
        }
    }

    private static void tell(ConsumerRecord<String, GenericRecord> record) throws Exception {
        ObjectNode line = JSON.createObjectNode();
        line.put("topic", record.topic()).put("partition", record.partition()).put("offset", record.offset());
        line.put("key", record.key());
        ObjectNode headers = line.putObject("headers");
        record.headers().forEach(header -> headers.put(header.key(), new String(header.value(), StandardCharsets.UTF_8)));
        if (record.value() == null) {
            line.putNull("value");
        } else {
            ObjectNode value = line.putObject("value");
            for (Schema.Field field : record.value().getSchema().getFields()) {
                value.set(field.name(), plain(record.value().get(field.pos())));
            }
        }
        OUT.println(JSON.writeValueAsString(line));
    }

    private static void publish(Properties settings, String topic, Schema schema) throws Exception {
        try (var producer = new KafkaProducer<String, GenericRecord>(settings)) {
            var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line; (line = lines.readLine()) != null; ) {
                JsonNode event = JSON.readTree(line);
                GenericRecord value = event.get("value").isNull() ? null : typed(event.get("value"), schema);
                String key = event.get("key").asText();
                RecordMetadata receipt = producer.send(new ProducerRecord<>(topic, key, value)).get();
                ObjectNode told = JSON.createObjectNode().put("key", key);
                OUT.println(told.put("partition", receipt.partition()).put("offset", receipt.offset()));
            }
        }
    }

    /** An item as JSON shows it: a date in days and a time in milliseconds since 1970, a decimal in hundredths. */
    private static JsonNode plain(Object item) {
        if (item instanceof ByteBuffer bytes) {
            byte[] unscaled = new byte[bytes.remaining()];
            bytes.get(unscaled);
            return JSON.valueToTree(new BigInteger(unscaled));
        }
        return JSON.valueToTree(item instanceof Number || item instanceof Boolean || item == null ? item : item.toString());
    }

    private static GenericRecord typed(JsonNode items, Schema schema) {
        GenericRecord record = new GenericData.Record(schema);
        for (Schema.Field field : schema.getFields()) {
            record.put(field.pos(), typed(items.get(field.name()), field));
        }
        return record;
    }

    private static Object typed(JsonNode item, Schema.Field field) {
        if (item == null || item.isNull()) {
            return null;
        }
        Schema type = field.schema().isUnion() ? field.schema().getTypes().get(1) : field.schema();
        return switch (type.getType()) {
            case BOOLEAN -> item.asBoolean();
            case INT -> item.asInt();
            case LONG -> item.asLong();
            case BYTES -> ByteBuffer.wrap(item.bigIntegerValue().toByteArray());
            case ENUM -> new GenericData.EnumSymbol(type, item.asText());
            default -> item.asText();
        };
    }
}
