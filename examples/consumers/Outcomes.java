import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Prints what became of each conversion at Metrika, with kafka-clients and avro alone.
 *
 * <p>Confluent's KafkaAvroDeserializer does the same as {@link #decode}; it is written out here because it is short and
 * shows the wire format: a zero byte, the schema's id, the Avro body.
 */
public final class Outcomes {
    private final HttpClient http = HttpClient.newHttpClient();
    private final String registry = System.getenv("SCHEMA_REGISTRY_URL");
    private final Map<Integer, Schema> schemas = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        new Outcomes().read(arguments.length > 0 ? arguments[0] : "outcomes-example");
    }

    private void read(String group) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", System.getenv("KAFKA_BOOTSTRAP_SERVERS"));
        settings.put("group.id", group);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        KafkaConsumer<String, byte[]> consumer =
                new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer());
        Thread reader = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                reader.join(5_000);
            } catch (InterruptedException ignored) {
                Thread.currentThread().interrupt();
            }
        }));
        try (consumer) {
            consumer.subscribe(List.of("crm.conversions.outcomes"));
            while (true) {
                for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    try {
                        GenericRecord outcome = decode(record.value());
                        System.out.println(outcome.get("event_id") + " " + outcome.get("outcome") + " " + outcome.get("target"));
                    } catch (RuntimeException | java.io.IOException notAnOutcome) { // it must not stop the line
                        System.err.println("skipped " + record.partition() + ":" + record.offset() + ": " + notAnOutcome);
                    }
                }
                consumer.commitSync();
            }
        } catch (WakeupException stopping) {
            // The shutdown hook asked for it.
        }
    }

    private GenericRecord decode(byte[] value) throws Exception {
        ByteBuffer framed = ByteBuffer.wrap(value);
        if (framed.get() != 0) {
            throw new IllegalArgumentException("not the Confluent wire format");
        }
        Schema writer = schema(framed.getInt());
        var body = DecoderFactory.get().binaryDecoder(value, framed.position(), framed.remaining(), null);
        return new GenericDatumReader<GenericRecord>(writer).read(null, body);
    }

    private Schema schema(int id) throws Exception {
        if (!schemas.containsKey(id)) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id)).build();
            String answer = http.send(request, HttpResponse.BodyHandlers.ofString()).body();
            schemas.put(id, new Schema.Parser().parse(new ObjectMapper().readTree(answer).get("schema").asText()));
        }
        return schemas.get(id);
    }
}
