"""An output in which every item is complete, without asking: `complete_items.py MODEL IN OUT`.

Run by the Python that pipechat is installed in: the hashes of the requests are pipechat's own.
"""

import sys

from pipechat import jsonl
from pipechat.batch.items import ItemReader
from pipechat.batch.rows import Row
from pipechat.messages import Turn, new_turn_id, now
from pipechat.settings.resolve import resolve_settings

MODEL, SOURCE, OUT = sys.argv[1:]
settings = resolve_settings({"model": MODEL}, {}, {})._replace(stream=False)
reader = ItemReader(settings, "chat")
with open(SOURCE, "rb") as source, open(OUT, "wb") as out:
    for number, line in enumerate(source, 1):
        item = reader.item(Row(number, jsonl.loads_line(line)))
        turn = Turn(
            id=new_turn_id(),
            time=now(),
            status="complete",
            model=MODEL,
            question=item.question,
            answer="It is about this and that.",
            finish_reason="stop",
            request=item.hash,
            item=item.id,
            attempts=1,
        )
        out.write(jsonl.dumps(turn.record()) + b"\n")
