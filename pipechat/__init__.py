"""pipechat: the Unix filter for chat models.

The way of a question:

    argv, stdin → Settings + Question → ChatRequest → client → Chunk → TurnReducer → events →
    sinks + the session's writer

The rooms, each of which imports only from those above it (`tests/test_house_map.py` holds it):

    errors, text, jsonl, messages, events
                    the ground: errors and exit codes, text made fit to be read and shown, JSON
                    lines, what is said and what happens
    late_imports, quick_imports
                    modules that run when something of them is first asked for; compiled ones
                    found and read with less work
    signals         waiting for streams, and what a signal does to a turn
    settings        the option table; flags, environment, profile and file resolved once; the key;
                    the endpoint; proxies
    wire            bytes of a response to chunks, whatever a server makes of the API; what its
                    errors mean
    answers         what an answer has to be: schemas and their short form, what `strict` takes,
                    validating, taking code or JSON out of an answer
    attached_files  reading the files that go along: bounded in size and time
    turn            the question, the turns that go along, the reducer that judges an answer, the
                    order in which a turn is made safe; attachments, templates
    client          an exchange with the server, its limits, when to try again; the SDK and its
                    quick import; the stand-in of --offline; recording and replaying
    store           session names and file names, locked appends, spools, reading, search,
                    rewriting
    ledger          what requests took: a line for each that was sent, what that costs, budgets
    show            sinks, the file of -o, transcripts, sessions as pages of HTML or Markdown, JSON
                    Schemas made of the types
    foreign         conversations as other programs keep them, read into turns
    line_editor, stdin, environment
                    the process: what is typed, streams, the environment
    batch           items and their input, what is known of them, the pace, the run and its
                    workers, the records; the provider's own engine; Ray
    doctor          what may be wrong with a set-up: looked at in bounded time, and judged
    chat            the conversation at a terminal: its commands, its editors, what was typed
    commands        flags to values, values to work
    main, __main__  command line in, exit status out

Only `client` imports openai or an HTTP library, and `batch` through it; only `jsonl` orjson; only
`commands` and `main` typer; only `environment`, `main` and `line_editor` touch the process's
streams.
"""

__version__ = "0.1.0"
