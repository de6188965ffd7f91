// Reads Sidetone's events: each once, and tells what is missing. See ../README.md.

import { parseArgs } from "node:util";
import { decompress } from "fzstd";
import kafkajs, { type EachMessagePayload, type IHeaders } from "kafkajs";

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;

// Sidetone compresses with zstd unless told otherwise, which kafkajs does not bring along.
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: () => Promise.reject(new Error("this program only reads")),
  decompress: async (buffer: Buffer) => Buffer.from(decompress(buffer)),
});

/** Bounds of what is remembered: ids that may come again, and subjects that are followed. */
const IDS_MAX = 100_000;
const SUBJECTS_MAX = 10_000;

/** Ids seen and the last number of each subject; the oldest are forgotten first. */
class Memory {
  readonly #ids = new Set<string>();
  readonly #last = new Map<string, number>();

  /** Whether an id was not seen before. */
  isNew(id: string): boolean {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > IDS_MAX) forgetOldest(this.#ids);
    return true;
  }

  /** How many durable events of a subject are missing before number `seq`. */
  missingBefore(subject: string, seq: number): number {
    const last = this.#last.get(subject) ?? 0;
    this.#last.delete(subject); // so that it becomes the newest
    this.#last.set(subject, Math.max(seq, last));
    if (this.#last.size > SUBJECTS_MAX) forgetOldest(this.#last);
    return Math.max(seq - last - 1, 0);
  }
}

/** Sets and maps keep the order in which their entries came. */
function forgetOldest(store: Set<string> | Map<string, number>): void {
  for (const key of store.keys()) {
    store.delete(key);
    return;
  }
}

function header(headers: IHeaders | undefined, name: string): string | undefined {
  const value = headers?.[name];
  return (Array.isArray(value) ? value[0] : value)?.toString();
}

const { values: options } = parseArgs({
  options: {
    brokers: { type: "string" },
    group: { type: "string" },
    topic: { type: "string", default: "sidetone.events" },
    until: { type: "string" },
  },
});
if (!options.brokers || !options.group) {
  console.error("usage: consumer --brokers HOST:PORT,… --group NAME [--topic NAME] [--until N]");
  process.exit(2);
}
const until = options.until === undefined ? Infinity : Number(options.until);

const kafka = new Kafka({ brokers: options.brokers.split(","), clientId: "sidetone-consumer", logLevel: logLevel.ERROR });
const consumer = kafka.consumer({ groupId: options.group });
const memory = new Memory();
let taken = 0;
let gaps = 0;
let finish: () => void = () => {};
const finished = new Promise<void>((resolve) => (finish = resolve));

async function take({ message }: EachMessagePayload): Promise<void> {
  const id = header(message.headers, "ce_id");
  // What comes after the last one asked for is left to the next member of the group.
  if (id === undefined || taken >= until || !memory.isNew(id)) return;
  if (header(message.headers, "ce_sub") === undefined) {
    const missing = memory.missingBefore(header(message.headers, "ce_subject") ?? "", Number(header(message.headers, "ce_seq")));
    if (missing > 0) {
      gaps += missing;
      console.error(`${missing} events are missing before ${id}`);
    }
  }
  const data: unknown = JSON.parse(message.value?.toString() ?? "null");
  console.log(JSON.stringify({ id, type: header(message.headers, "ce_type"), key: message.key?.toString(), data }));
  taken += 1;
  if (taken >= until) finish();
}

await consumer.connect();
await consumer.subscribe({ topic: options.topic, fromBeginning: true });
await consumer.run({ eachMessage: take });
process.once("SIGINT", () => finish());
process.once("SIGTERM", () => finish());
await finished;
await consumer.disconnect();
process.exit(gaps > 0 ? 1 : 0);
