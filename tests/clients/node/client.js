// A department's program in plain kafkajs; all its settings come from bianhe.js.
//
//   client.js read COUNT TOPIC…      prints one JSON line per record, commits what it printed
//   client.js publish TOPIC SCHEMA   publishes the JSON lines {"key": …, "value": …} of its input, prints a line each
'use strict';
const fs = require('node:fs');
const { AvroDeserializer, SerdeType } = require('@confluentinc/schemaregistry');
const bianhe = require('./bianhe.js');

const IDLE_MS = 60_000;
// kafkajs logs to standard output, which belongs to the records here.
console.info = console.error;

async function read(count, topics) {
  const decode = new AvroDeserializer(bianhe.newRegistry(), SerdeType.VALUE, {});
  const consumer = bianhe.newConsumer();
  try {
    await consumer.connect();
    await consumer.subscribe(bianhe.subscription(topics));
    await new Promise((resolve, reject) => {
      let told = 0;
      const idle = setTimeout(() => reject(new Error(`nothing came for ${IDLE_MS} ms`)), IDLE_MS);
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
      consumer.run({
        // This program stops in the middle of what was fetched, so it commits by itself.
        autoCommit: false,
        eachMessage: async ({ topic, partition, message }) => {
          if (told === count) return;
          told += 1;
          idle.refresh();
          await tell(topic, partition, message, decode);
          const next = String(BigInt(message.offset) + 1n);
          await consumer.commitOffsets([{ topic, partition, offset: next }]);
          if (told === count) resolve();
        },
      });
    });
  } finally {
    await consumer.disconnect();
  }
}

async function tell(topic, partition, message, decode) {
  const headers = Object.entries(message.headers).map(([name, content]) => [name, content.toString()]);
  const value = message.value && (await decode.deserialize(topic, message.value));
  say({
    topic,
    partition,
    offset: Number(message.offset),
    key: message.key && message.key.toString(),
    headers: Object.fromEntries(headers),
    value: value && Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item)])),
  });
}

async function publish(topic, schemaFile) {
  const schema = fs.readFileSync(schemaFile, 'utf8');
  const registry = bianhe.newRegistry();
  await registry.register(`${topic}-value`, { schemaType: 'AVRO', schema });
  const encode = bianhe.newSerializer(registry);
  const producer = bianhe.newProducer();
  await producer.connect();
  try {
    for (const line of fs.readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
      const event = JSON.parse(line);
      const value = event.value && (await encode.serialize(topic, typed(event.value)));
      const [receipt] = await producer.send({ topic, messages: [{ key: event.key, value }] });
      say({ key: event.key, partition: receipt.partition, offset: Number(receipt.baseOffset) });
    }
  } finally {
    await producer.disconnect();
  }
}

// An item as JSON shows it: a date in days and a time in milliseconds since 1970, a decimal in hundredths.
function plain(item) {
  return Buffer.isBuffer(item) ? Number(BigInt.asIntN(item.length * 8, BigInt('0x' + item.toString('hex')))) : item;
}

function typed(items) {
  if (items.registered_capital === null) return items;
  const hundredths = Buffer.alloc(8);
  hundredths.writeBigInt64BE(BigInt(items.registered_capital));
  return { ...items, registered_capital: hundredths };
}

function say(facts) {
  console.log(JSON.stringify(facts));
}

async function main([role, ...rest]) {
  if (role === 'read') await read(Number(rest[0]), rest.slice(1));
  else await publish(...rest);
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error) => {
    console.error(`error ${error.name}: ${error.type ?? ''} ${error.message}`);
    process.exit(1);
  },
);
