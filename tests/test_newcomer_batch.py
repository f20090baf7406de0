"""What a newcomer meets with a batch: each rule with its members."""

import json
from pathlib import Path

import pytest

from tests.program import Program
from tests.servers import Batches, ChatServer, Reply, Request, error_reply
from tests.servers.mirror import mirror
from tests.test_batch_run import items, ndjson, records, run

pytestmark = pytest.mark.in_process

FORMATS = ((), ("--output-format", "json"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def by_question(request: Request) -> Reply:
    """A refusal for those who ask for one, by its status; else the mirror's answer."""
    asked = request.question
    return error_reply(int(asked), "a reason") if asked.isdigit() else mirror()(request)


@pytest.mark.parametrize("more", FORMATS)
@pytest.mark.parametrize(
    ("item", "code", "says"),
    [
        ({"id": "a", "frage": "x"}, "bad_item", "line 2: it has no question"),
        ({"id": "a", "question": "400"}, "bad_request", "item 'a': 127.0.0.1"),
        ({"id": "a", "question": "500"}, "server_error", "a reason"),
        ({"id": "a", "question": "x", "session": "a/b"}, "bad_session_name", "'a/b'"),
    ],
)
def test_of_each_kind_of_failure_the_first_is_told_with_its_cause(
    program: Program, out: Path, more: tuple[str, ...], item: dict[str, str], code: str, says: str
) -> None:
    source = ndjson({"question": "one"}, item, {**item, "id": "b"})
    with ChatServer(by_question) as server:
        result = run(program, server, source, "-o", str(out), "--retries", "0", *more)
        quiet = run(program, server, source, "-o", str(out), "--retries", "0", "-q", *more)
    assert result.status == quiet.status == 10
    lines = result.stderr.decode().splitlines()
    assert f"2 {code}" in lines[0]
    assert len(lines) == 2, "one line for both"
    assert lines[1].startswith(f"pipechat: {code}: ")
    assert says in lines[1]
    assert quiet.stderr == b""


def test_no_more_than_three_kinds_of_failures_are_told_and_why_it_stopped_only_once(
    program: Program, out: Path
) -> None:
    statuses = ("400", "404", "422", "413", "401")
    with ChatServer(by_question) as server:
        source = ndjson(*({"id": each, "question": each} for each in statuses[:4]), "no object")
        many = run(program, server, source, "-o", str(out), "--retries", "0")
        wrong_key = run(program, server, ndjson({"id": "k", "question": "401"}), "-o", str(out))
    assert many.stderr.count(b"\n") == 1 + 3
    assert (wrong_key.status, wrong_key.code) == (3, "unauthorized")
    assert wrong_key.stderr.count(b"unauthorized:") == 1


@pytest.mark.parametrize("command", ["submit", "run"])
def test_a_row_that_is_no_item_is_told_by_every_command_that_reads_rows(
    program: Program, out: Path, command: str
) -> None:
    with ChatServer(mirror()) as server:
        result = program.run(
            "batch", command, "-o", str(out), "--base-url", server.url, input=b"{}\n"
        )
    assert result.status == 10
    assert b"bad_item: line 1: it has no question" in result.stderr
    assert json.loads(out.read_bytes())["error"]["message"] == "line 1: it has no question"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("command", ["run", "submit"])
@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "PIPECHAT_API_KEY", None])
def test_a_key_that_is_refused_is_told_with_who_named_it(
    program: Program, out: Path, status: int, command: str, name: str | None
) -> None:
    env = {"OPENAI_API_KEY": None, **({name: "a-key-of-its-own"} if name else {})}
    with ChatServer(error_reply(status, "no")) as server:
        result = program.run(
            "batch", command, "-o", str(out), "--base-url", server.url, input=items(1), env=env
        )
    assert result.status == 3
    says = f"Check the key ({name})" if name else "No key was sent: set OPENAI_API_KEY"
    assert says in result.stderr.decode()
    assert b"a-key-of-its-own" not in result.stderr


def test_an_address_where_nothing_is_is_told_whole(program: Program, out: Path) -> None:
    with ChatServer(error_reply(404, "Not Found")) as server:
        url = server.url + "/chat/completions"
        result = program.run("batch", "run", "-o", str(out), "--base-url", url, input=items(1))
    assert result.status == 10
    assert f"asked: {url}/chat/completions" in result.stderr.decode()
    assert b"Leave /chat/completions out of the base URL." in result.stderr


TABLES = {
    "semicolons": b"id;thing\r\n1;Kessel\r\n2;Lampe\r\n",
    "quoted": b'"id";"thing"\r\n"1";"Kessel"\r\n2;Lampe\r\n',
    "a mark": b"\xef\xbb\xbfid;thing\r\n1;Kessel\r\n2;Lampe\r\n",
    "a comma in a cell": b'id;thing;note\n1;Kessel;"a, b"\n2;Lampe;1,5\n',
    "tabs": b"id\tthing\n1\tKessel\n2\tLampe\n",
    "told": b"sep=;\r\nid;thing\r\n1;Kessel\r\n2;Lampe\r\n",
    "commas": b"id,thing\n1,Kessel\n2,Lampe\n",
    "a semicolon in a name": b'id,"thing",a;b\n1,Kessel,x\n2,Lampe,y\n',
    "empty rows": b"\nid,thing\n\n1,Kessel\n,\n\r\n2,Lampe\n,\n,\n",
    "empty rows, semicolons": b"\r\nid;thing\r\n1;Kessel\r\n;\r\n2;Lampe\r\n;\r\n",
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_is_read_as_spreadsheets_write_it(
    program: Program, tmp_path: Path, out: Path, table: bytes
) -> None:
    (tmp_path / "in.csv").write_bytes(table)
    with ChatServer(mirror()) as server:
        result = program.run(
            "batch", "run", tmp_path / "in.csv", "--template", "A {{ thing }}",
            "-o", out, "--base-url", server.url,
        )  # fmt: skip
    assert result.status == 0, result.stderr
    assert {each["item"]: each["question"] for each in records(out)} == {
        "1": "A Kessel",
        "2": "A Lampe",
    }


@pytest.mark.parametrize("more", FORMATS)
@pytest.mark.parametrize("command", ["run", "submit"])
@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("in.csv", "id,question\n1,x\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
        ("in.ndjson", '{"question":"x"}\n'.encode("utf-16-le"), "iconv -f UTF-16 -t UTF-8"),
        ("in.txt", "a\n".encode("utf-16-be"), "iconv -f UTF-16 -t UTF-8"),
        ("in.xlsx", b"PK\x03\x04\n\n\n", "Save it as CSV"),
        ("in.csv.gz", b"\x1f\x8b\x08\n\n", "gzip -dc"),
        ("in.json", b'[\n {"question":"x"},\n {"question":"y"}\n]\n', "jq -c '.[]'"),
        ("in.json", b'[{"question":"x"}]', "jq -c '.[]'"),
        ("in.ndjson", b'\n{\n "question":"x"\n}\n', "jq -c ."),
    ],
)
def test_a_file_of_another_kind_is_refused_whole_and_nothing_of_it_asked(
    program: Program, tmp_path: Path, out: Path, command: str, name: str, data: bytes,
    says: str, more: tuple[str, ...],
) -> None:  # fmt: skip
    (tmp_path / name).write_bytes(data)
    with ChatServer(mirror()) as server:
        result = program.run(
            "batch", command, tmp_path / name, "-o", out, "--base-url", server.url, *more,
            events=False,
        )  # fmt: skip
        assert not server.requests
    assert (result.status, result.code) == (2, "unreadable_input")
    last = result.stderr.decode().splitlines()[-1]
    assert f"{tmp_path / name}: it is " in last
    assert last.endswith(f"{says}.") or says in last
    assert out.read_bytes() == b""


def test_a_program_that_sends_a_line_which_is_no_item_is_told_and_goes_on(
    program: Program,
) -> None:
    with ChatServer(mirror()) as server:
        result = run(program, server, b'[1]\n{"question":"x"}\n{\n')
    assert result.status == 10
    assert [each["status"] for each in result.events].count("complete") == 1


@pytest.mark.parametrize(
    ("source", "more", "says"),
    [
        (b'{"id":1,"frage":"x"}', (), "It has id, frage: call one `question`, or make one"),
        (b'{"id":1,"frage":"x"}', (), "--template '{{ frage }}'."),
        (b"Frage;Nr\nx;1", ("--input-format", "csv"), "It has Frage, Nr:"),
        (b'{"colour":"red"}', ("--template", "A {{ color }} thing"), "Given: colour."),
        (b"colour,id\nred,7", ("--input-format", "csv", "--template", "{{ input }}"), "Given: col"),
        (b"a,b\n1,2", (), "--input-format csv, tsv or lines."),
    ],
)
def test_a_wrong_name_is_told_with_those_that_there_are(
    program: Program, source: bytes, more: tuple[str, ...], says: str
) -> None:
    with ChatServer(mirror()) as server:
        result = run(program, server, source, *more)
        assert not server.requests
    assert result.status == 10
    assert says in result.stderr.decode()


STRANGE = {
    "items": b'{"id":"q1","question":"x"}\n',
    "a table": b"id,question\n1,x\n",
    "text": b"A note.\n",
    "a list": b"[1]\n",
    "text without an end": b"A note.",
    "empty lines before": b"\n\nA note.\n",
    "another's records": b'{"v":1,"id":"x"}\n',
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize(
    "command",
    [
        ("batch", "run", "-o"),
        ("batch", "run", "--fresh", "-o"),
        ("batch", "submit", "-o"),
        ("batch", "run", "--record"),
        ("ask", "--record"),
        ("ask", "--output-format", "ndjson", "--record"),
    ],
)
def test_nothing_is_added_to_a_file_of_something_else(
    program: Program, tmp_path: Path, strange: bytes, command: tuple[str, ...]
) -> None:
    path = tmp_path / "kept"
    path.write_bytes(strange)
    with ChatServer(mirror()) as server:
        result = program.run(*command, path, "--base-url", server.url, input=items(1), events=False)
        assert not server.requests
    assert (result.status, result.code) == (2, "bad_option")
    assert f"{command[-1]}: {path} holds something else".encode() in result.stderr.replace(
        b"--output:", b"-o:"
    )
    assert path.read_bytes() == strange


@pytest.mark.parametrize("size", [0, 1, 4, 30, 200, 100_000])
@pytest.mark.parametrize("option", ["-o", "--record"])
def test_a_file_of_ours_is_added_to_wherever_a_crash_tore_its_first_line(
    program: Program, out: Path, option: str, size: int
) -> None:
    with ChatServer(mirror()) as server:
        url = ("--base-url", server.url)
        source = ndjson({"id": "a", "question": "x" * 90_000})
        program.run("batch", "run", option, out, *url, input=source, events=False)
        whole = out.read_bytes()
        assert len(whole) > 90_000
        out.write_bytes(whole[:size])
        for n in range(2):
            source = ndjson({"question": f"question {n}"})
            result = program.run("batch", "run", option, out, *url, input=source, events=False)
            assert result.status == 0, result.stderr
    if option == "-o":  # whose every line is a record: what was torn is cut off
        assert [json.loads(line)["status"] for line in out.read_bytes().splitlines()] == [
            "complete",
            "complete",
        ]
    else:
        assert out.read_bytes().startswith(whole[:size])


@pytest.mark.in_process(False)
@pytest.mark.parametrize("by_name", [False, True])
def test_a_batch_does_not_ask_what_it_says_itself(
    program: Program, tmp_path: Path, by_name: bool
) -> None:
    path = tmp_path / "both.ndjson"
    path.write_bytes(items(2))
    with ChatServer(mirror()) as server, path.open("rb") as source, path.open("ab") as sink:
        process = program.start(
            "batch", "run", str(path) if by_name else "-", "--base-url", server.url,
            stdin=source, stdout=sink,
        )  # fmt: skip
        result = program.finish(process)
        assert not server.requests
    assert (result.status, result.code) == (2, "bad_option")
    assert path.read_bytes() == items(2)


@pytest.mark.parametrize("command", ["run", "submit"])
@pytest.mark.parametrize(
    ("source", "more", "unread"),
    [
        (b'{"question":"x","top_p":0.2}\n{"question":"y","top_p":1}', (), "top_p"),
        (b'{"question":"x"}\n{"question":"y","sesion":"s"}', (), "sesion"),
        (b"id,question,Model\n1,x,m", ("--input-format", "csv"), "Model"),
        (b'{"question":"x","a":1,"b":2,"\\u001b[1m":3}', (), "a, b, ^[[1m"),
    ],
)
def test_what_of_an_item_nobody_reads_is_told_once(
    program: Program, out: Path, command: str, source: bytes, more: tuple[str, ...], unread: str
) -> None:
    with ChatServer(Batches()) as server:
        url = ("--base-url", server.url)
        result = program.run("batch", command, "-o", out, *url, *more, input=source)
        quiet = program.run("batch", command, "-o", out, *url, *more, "-q", input=source)
    assert result.stderr.decode().count(f": not read: {unread}. An item has id, question,") == 1
    assert result.stderr.count(b"not read") == 1
    assert b"not read" not in quiet.stderr


def test_a_row_that_a_template_reads_may_have_any_names_and_many_new_names_are_not_told(
    program: Program,
) -> None:
    source = ndjson(*({"question": "x", f"name{n}": n} for n in range(50)))
    with ChatServer(mirror()) as server:
        any_names = run(program, server, source, "--template", "{{ question }}")
        told = run(program, server, source)
    assert b"not read" not in any_names.stderr
    assert told.stderr.count(b"not read") == 3


@pytest.mark.parametrize(
    ("count", "says"),
    [(1, "1 item in 1 new part, 1 batch created"), (2, "2 items in 1 new part, 1 batch created")],
)
def test_what_was_submitted_is_counted_in_good_english(
    program: Program, out: Path, count: int, says: str
) -> None:
    with ChatServer(Batches(states=("in_progress",))) as server:
        url = ("--base-url", server.url)
        submitted = program.run("batch", "submit", "-o", out, *url, input=items(count))
        fetched = program.run("batch", "fetch", out, *url)
    assert submitted.stderr.decode() == f"pipechat: {says}\n"
    assert f"{says.split(' in ')[0]} {'has' if count == 1 else 'have'} no answer yet" in (
        fetched.stderr.decode()
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no/out", "its folder is not there. Make the folder"),
        (".", "it is a folder. Name a file in"),
        ("file/out", "a part of the path is no folder. Look at the path."),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("batch", "run", "-o"),
        ("batch", "submit", "-o"),
        ("batch", "run", "--record"),
        ("ask", "-o"),
        ("ask", "--output-format", "ndjson", "-o"),
        ("ask", "--record"),
    ],
)
def test_a_path_that_cannot_be_written_is_told_in_plain_words(
    program: Program, tmp_path: Path, command: tuple[str, ...], name: str, says: str
) -> None:
    (tmp_path / "file").write_text("")
    with ChatServer(mirror()) as server:
        url = ("--base-url", server.url)
        result = program.run(*command, name, *url, input=items(1), events=False, cwd=tmp_path)
        assert not server.requests
    assert result.status == 11
    assert f"{name} could not be written: {says}" in result.stderr.decode()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/null"])
def test_an_output_that_is_no_file_is_told_what_is_stdout(
    program: Program, tmp_path: Path, name: str
) -> None:
    with ChatServer(mirror()) as server:
        result = program.run(
            "batch", "run", "-o", name, "--base-url", server.url, input=items(1), cwd=tmp_path
        )
        assert not server.requests
    assert result.status == 11
    assert b"it is not a regular file. Name a file with -o; `-` is stdout." in result.stderr


@pytest.mark.parametrize(
    ("table", "status", "said"),
    [
        (b'question\n"open\n', 10, "bad_item: line 2: no row: a quote in it is not closed"),
        (b'question\nhi\n"a\nb\n', 10, "no row: a quote in it is not closed (its quotes make"),
        (b'"question\n', 2, "the first line is no header: a quote in it is not closed"),
    ],
)
def test_a_quote_that_is_not_closed_is_called_that(
    program: Program, tmp_path: Path, table: bytes, status: int, said: str
) -> None:
    (tmp_path / "in.csv").write_bytes(table)
    result = program.run("batch", "run", "--offline", tmp_path / "in.csv")
    assert result.status == status
    assert said in result.stderr.decode()


@pytest.mark.parametrize("command", ["run", "submit"])
def test_an_input_that_is_the_output_as_well_is_told_by_the_option_that_names_it(
    program: Program, out: Path, command: str
) -> None:
    out.write_bytes(items(1))
    result = program.run("batch", command, str(out), "-o", str(out))
    assert (result.status, result.code) == (2, "bad_option")
    assert f"--output: {out} is the input as well. Name another file" in result.stderr.decode()
    assert out.read_bytes() == items(1)
