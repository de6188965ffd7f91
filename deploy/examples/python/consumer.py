"""Reads Sidetone's events: each once, and tells what is missing. See ../README.md."""

import argparse
import json
import sys
from collections import OrderedDict

from confluent_kafka import Consumer, KafkaException

# Bounds of what is remembered: ids that may come again, and subjects that are followed.
IDS_MAX = 100_000
SUBJECTS_MAX = 10_000


class Memory:
    """Ids seen and the last number of each subject; the oldest are forgotten first."""

    def __init__(self, ids_max=IDS_MAX, subjects_max=SUBJECTS_MAX):
        self.ids, self.ids_max = OrderedDict(), ids_max
        self.last, self.subjects_max = OrderedDict(), subjects_max

    def is_new(self, event_id):
        """Whether an id was not seen before."""
        if event_id in self.ids:
            return False
        self.ids[event_id] = None
        if len(self.ids) > self.ids_max:
            self.ids.popitem(last=False)
        return True

    def missing_before(self, subject, seq):
        """How many durable events of a subject are missing before number `seq`."""
        last = self.last.pop(subject, 0)
        self.last[subject] = max(seq, last)
        if len(self.last) > self.subjects_max:
            self.last.popitem(last=False)
        return max(seq - last - 1, 0)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--brokers", required=True)
    options.add_argument("--group", required=True)
    options.add_argument("--topic", default="sidetone.events")
    options.add_argument("--until", type=int, help="end after this many events")
    options = options.parse_args()

    consumer = Consumer({
        "bootstrap.servers": options.brokers,
        "group.id": options.group,
        "auto.offset.reset": "earliest",
        # An offset is stored once its event was dealt with, and committed in the background.
        "enable.auto.offset.store": False,
    })
    consumer.subscribe([options.topic])
    memory, taken, gaps = Memory(), 0, 0
    try:
        while options.until is None or taken < options.until:
            record = consumer.poll(1.0)
            if record is None:
                continue
            if record.error():
                if record.error().fatal():
                    raise KafkaException(record.error())
                print(record.error(), file=sys.stderr)  # it passes by itself
                continue
            headers = {name: value.decode() for name, value in record.headers() or []}
            if "ce_id" in headers and memory.is_new(headers["ce_id"]):
                if "ce_sub" not in headers:
                    missing = memory.missing_before(headers["ce_subject"], int(headers["ce_seq"]))
                    if missing:
                        gaps += missing
                        print(f"{missing} events are missing before {headers['ce_id']}", file=sys.stderr)
                line = {"id": headers["ce_id"], "type": headers["ce_type"],
                        "key": record.key().decode(), "data": json.loads(record.value())}
                print(json.dumps(line), flush=True)
                taken += 1
            consumer.store_offsets(record)
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()
    return 1 if gaps else 0


if __name__ == "__main__":
    sys.exit(main())
