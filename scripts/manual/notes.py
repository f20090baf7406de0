"""What the manual and the README say of an option beyond its help: a sentence or two, in Markdown.

By the name of the option's value; of an argument by the command and its name.
"""

NOTES = {
    "ask QUESTION": "A `-` among the words is where stdin stands.",
    "context_tokens": "As the server counted them.",
    "continue_last": "It is the one that was written last, as `history show` takes it.",
    "existing": "So a typo starts no conversation.",
    "api": "`auto` is chat, until a server says that a model is to be had by the other; what was "
    "learned lies in `cache/`, which may be deleted. The Responses API is asked to store nothing.",
    "system_role": "A user's stands in front of the question, in one message. The session keeps "
    "the message, whoever says it.",
    "render": "It streams so; code stays as it is. Elsewhere bytes are bytes. Not with `--raw`.",
    "if_busy": "Waiting is within `--timeout`; fail is exit 9.",
    "once": "It needs `--session`.",
    "fallback": "After the retries, and before any text; of a profile its endpoint, key, proxy and "
    "model count. Its key, headers and client certificate are its own: with another `base_url` it "
    "gets none but what it names. The record names the model that answered.",
    "temperature": "Reasoning models reject it.",
    "max_tokens": "It goes out as `max_completion_tokens` to OpenAI, else as `max_tokens`, and by "
    "the other name where a server refuses that.",
    "system": "A file's name without its `@` is exit 2, here and in `--template`; so is `@-`, "
    "here, there and in `--schema`: stdin is the question's.",
    "template": "A name without a value is exit 2, and so is input, or a `--var`, that it does not "
    "read.",
    "files": "PNG, JPEG, WebP, GIF and PDF are told by their bytes. `-f A -f B`: of a glob it "
    "would get one file alone; a word beside it that is a file is exit 2.",
    "schema": "An answer that does not is exit 7.",
    "schema_retries": "All of them are within `--timeout`.",
    "extract": "An answer that holds none is exit 7.",
    "output": "`-` is stdout; `/dev/stdout`, `/dev/fd/N`, a device or a FIFO is written in place.",
    "no_stdin": "Else a pipe, socket or file is read to its end, however long that takes.",
    "dry_run": "No key is needed.",
    "timeout": "It bounds the reading of stdin as well, and an item of `batch run`, from its first "
    "request to its last; what a slow reader of stdout takes does not count, and is waited for "
    "beyond it.",
    "idle_timeout": "Comments do not count.",
    "base_url": "A query goes with every request; a socket's server is asked at `/v1`, or with "
    "`unix:///PATH.sock:/PREFIX` there.",
    "headers": "It goes to the endpoint beside which it stands, as a key does, and is shown "
    "nowhere; other users of the machine can read it in `ps`, unless it is `@env:` or `@file:`. "
    "`Authorization` takes the key's place.",
    "cacert": "Else `SSL_CERT_FILE`, `SSL_CERT_DIR`, `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, the "
    "first that is set; else the system's.",
    "client_cert": "The server sees it, as it does a key: it is shown to the endpoint beside which "
    "it stands.",
    "client_key": "An encrypted one is refused. It has no variable.",
    "proxy": "Else the usual `*_PROXY` and `NO_PROXY` variables hold, but for this machine itself.",
    "record": "That is requests, answers, faults and times; the file may hold nothing "
    "else, and is not that of `-o` (exit 2).",
    "replay": "At full speed; a request that is not there is exit 3 (`not_recorded`), or with "
    "`--record` is sent and recorded.",
    "batch run IN": "With `--template` any object or row is one.",
    "batch_output": "A file that holds something else is exit 2; of what went to stdout nothing is "
    "remembered.",
    "rpm": "The server's own limit is learned, and meeting it fails no item.",
    "tpm": "The server's own limit is learned here too.",
    "jobs": "Fewer, with a word, where `ulimit -n` leaves no room.",
    "ordered": "One that is early waits in `.OUT.held` beside OUT, where the next run finds it; 16 "
    "times as many as `--jobs` says, or 32 MiB, hold the input up.",
    "fresh": "It is emptied once the input can be read.",
    "grace": "SIGINT, SIGTERM and SIGHUP stop it; a second one does not wait.",
    "batch_stream": "`--first-token-timeout` and `--idle-timeout` then mean it.",
}
