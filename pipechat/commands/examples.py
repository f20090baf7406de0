"""Examples of the commands, for their help and the manual: what each does, and its line.

A shell runs each as it stands: what zsh, fish and bash read differently is in quotes.
"""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "pipechat": (
        ("Ask a question:", 'pipechat ask "What is a pipe?"'),
        ("Try it with no key and no network:", 'pipechat ask --offline "What is a pipe?"'),
        ("Talk, and keep the conversation:", "pipechat chat --session trip"),
        ("Read it again:", "pipechat history show trip"),
    ),
    "pipechat ask": (
        (
            "Data comes through the pipe, what to do with it as words:",
            'git diff | pipechat ask "Write a commit message."',
        ),
        ("Go on with a conversation:", 'pipechat ask --session trip "And if it rains?"'),
        (
            "Send a file along; keep the answer only if it is whole:",
            'pipechat ask -f notes.txt -o summary.txt "Sum this up."',
        ),
        (
            "Fields that a script can read:",
            "pipechat ask --schema 'name, age int' \"Invent a sailor.\" | jq -r .name",
        ),
        (
            "A server of your own:",
            'pipechat ask --base-url http://localhost:11434/v1 -m llama3.2 "Hello."',
        ),
    ),
    "pipechat chat": (
        ("Talk; what was said is forgotten at the end:", "pipechat chat"),
        ("Talk, and go on tomorrow:", "pipechat chat --session trip"),
    ),
    "pipechat batch": (
        (
            "Ask every question of a file; run it again after a crash:",
            "pipechat batch run questions.ndjson -o answers.jsonl",
        ),
        (
            "The same at half the price, within a day:",
            "pipechat batch submit questions.ndjson -o answers.jsonl",
        ),
    ),
    "pipechat batch run": (
        (
            "Ask what is missing; run it again after a crash:",
            "pipechat batch run questions.ndjson -o answers.jsonl",
        ),
        (
            "A question of each row of a table:",
            "pipechat batch run goods.csv --template 'Sell {{ name }}.' -o ads.jsonl",
        ),
        (
            "A hundred at once, a thousand a minute:",
            "pipechat batch run questions.ndjson -o answers.jsonl -j 100 --rpm 1000",
        ),
        (
            "Stop where the tokens of a day are spent:",
            "pipechat batch run questions.ndjson -o answers.jsonl --budget 90000tok/day",
        ),
    ),
    "pipechat batch submit": (
        (
            "Hand over what has no answer yet:",
            "pipechat batch submit questions.ndjson -o answers.jsonl",
        ),
    ),
    "pipechat batch status": (("How far is it?", "pipechat batch status answers.jsonl"),),
    "pipechat batch fetch": (
        ("Wait for the answers:", "pipechat batch fetch answers.jsonl --wait"),
    ),
    "pipechat batch cancel": (("Give it up:", "pipechat batch cancel answers.jsonl"),),
    "pipechat history": (
        ("What there is:", "pipechat history list"),
        ("Who said what:", "pipechat history show trip"),
        ("Where something was said:", "pipechat history search -i lyon"),
    ),
    "pipechat history list": (
        ("The last twenty of a week:", "pipechat history list --since 7d -n 20"),
        ("As JSON:", "pipechat history list --output-format json"),
    ),
    "pipechat history show": (
        ("The last two turns:", "pipechat history show trip -n 2"),
        ("The records of a batch:", "pipechat history show ./answers.jsonl"),
    ),
    "pipechat history path": (
        ("For other programs:", 'jq -r .answer "$(pipechat history path trip)"'),
    ),
    "pipechat history search": (
        ("In all sessions:", "pipechat history search -i lyon"),
        ("A pattern, in one session:", "pipechat history search -E 'rain|snow' trip"),
        ("With the lines around it:", "pipechat history search -i -C 2 lyon"),
        ("Which sessions say it:", "pipechat history search -il lyon"),
    ),
    "pipechat history export": (
        ("A page to read, print or send:", "pipechat history export trip -o trip.html"),
        ("What a request would send along:", "pipechat history export trip --format messages"),
        ("The records of a batch, with notes:", "pipechat history export ./answers.jsonl -o a.md"),
    ),
    "pipechat history import": (
        ("Messages that another program kept:", "pipechat history import talk.json"),
        ("All of ChatGPT's export:", "pipechat history import conversations.json"),
        ("What `llm logs -n 0 --json` printed:", "pipechat history import logs.json"),
    ),
    "pipechat history fork": (
        ("Try another way from turn 1 on:", "pipechat history fork trip plan-b --at 1"),
    ),
    "pipechat history rename": (("", "pipechat history rename plan-b lyon"),),
    "pipechat history delete": (("Do not ask:", "pipechat history delete lyon --yes"),),
    "pipechat history prune": (
        ("See what would go:", "pipechat history prune --older-than 90d --dry-run"),
    ),
    "pipechat history repair": (("See what is torn:", "pipechat history repair trip --dry-run"),),
    "pipechat usage": (
        ("This month, by model and day:", 'pipechat usage --since "$(date +%Y-%m)" --by day,model'),
        ("What a batch cost:", "pipechat usage ./answers.jsonl"),
        ("What is left of each budget:", "pipechat usage --budget"),
        ("A table for a spreadsheet:", "pipechat usage --by month --output-format csv > cost.csv"),
    ),
    "pipechat models": (
        ("What the endpoint serves:", "pipechat models"),
        ("Those with room for a book:", "pipechat models | awk '$2 > 200000'"),
    ),
    "pipechat doctor": (
        ("Where is it broken?", "pipechat doctor"),
        ("With a question, and only what is not well:", "pipechat doctor --ask | grep -v ^ok || :"),
    ),
    "pipechat completion": (
        ("In ~/.bashrc, or with zsh in ~/.zshrc:", 'eval "$(pipechat completion bash)"'),
        ("A file for fish:", "pipechat completion fish > pipechat.fish"),
    ),
    "pipechat config": (
        ("What holds, and who set it:", "pipechat config show"),
        ("Where the file is, or would be:", "pipechat config path"),
    ),
    "pipechat config init": (("Begin a file of settings:", "pipechat config init"),),
    "pipechat config show": (("What a script can read:", "pipechat config show | cut -f 1,3"),),
    "pipechat config path": (("Look at the file:", 'cat "$(pipechat config path)"'),),
    "pipechat schema": (("", "pipechat schema event > event.json"),),
}
