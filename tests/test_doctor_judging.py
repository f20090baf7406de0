"""What `pipechat doctor` makes of what it saw: table by table, with nothing looked at."""

import errno
import socket
from typing import Any

import pytest

from pipechat.doctor import judging
from pipechat.doctor.finding import Finding, worst
from pipechat.doctor.folder import FolderFacts, filesystem_of
from pipechat.doctor.judging_folder import judge_folder
from pipechat.errors import RefusedError

NOW = 1_800_000_000.0  # 15 January 2027, 08:00


def test_an_address_is_told_as_one_and_a_name_with_its_first() -> None:
    assert judging.name("h", "127.0.0.1", ["127.0.0.1"], None).message == "127.0.0.1 is an address"
    many = judging.name("h", "h", ["10.0.0.1", "10.0.0.2", "10.0.0.3"], None)
    assert many.message == "h is 10.0.0.1 and 2 more"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(111, "refused"), "refused the connection"),
        (TimeoutError(), "in time"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "unreachable"),
        (socket.gaierror(-2, "unknown"), "does not resolve"),
    ],
)
def test_a_connection_that_fails_is_told_by_its_cause(error: OSError, said: str) -> None:
    finding = judging.connection("h", error)
    assert (finding.verdict, bool(finding.hint)) == ("fail", True)
    assert said in finding.message


@pytest.mark.parametrize(
    ("code", "said"),
    [(10, "has expired"), (9, "not valid yet"), (18, "authority"), (19, "authority"),
     (20, "authority"), (62, "another name"), (64, "another name"), (23, "revoked")],
)  # fmt: skip
def test_a_certificate_that_is_not_trusted_is_told_by_openssls_code(code: int, said: str) -> None:
    finding = judging.distrusted("h", code, "revoked")
    assert finding.verdict == "fail"
    assert said in finding.message


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [("Jan 16 08:00:00 2027 GMT", "warn"), ("Jan 28 08:00:00 2027 GMT", "warn"),
     ("Jan 29 08:00:00 2027 GMT", "ok"), (None, "ok")],
)  # fmt: skip
def test_a_certificate_that_ends_within_two_weeks_is_warned_of(
    ends: str | None, verdict: str
) -> None:
    issuer = ((("countryName", "XX"),), (("organizationName", "An Authority"),))
    shown = {"issuer": issuer, "notAfter": ends}
    finding = judging.certificate("h", shown, NOW)
    assert finding.verdict == verdict
    assert "An Authority" in finding.message


@pytest.mark.parametrize(
    ("date", "verdict", "said"),
    [
        ("Fri, 15 Jan 2027 08:00:30 GMT", "ok", "to a minute"),
        ("Fri, 15 Jan 2027 08:02:00 GMT", "warn", "120 s behind"),
        ("Fri, 15 Jan 2027 07:00:00 GMT", "fail", "1.0 h ahead of"),
        ("Fri, 15 Jan 2027 09:00:00 GMT", "fail", "1.0 h behind"),
        (None, "ok", "no time"),
        ("soon", "ok", "no time"),
        ("Fri, 99 Jan 2027 09:00:00 GMT", "ok", "no time"),
    ],
)
def test_a_clock_is_judged_by_how_far_it_is_off(date: str | None, verdict: str, said: str) -> None:
    finding = judging.clock(date, NOW)
    assert finding.verdict == verdict
    assert said in finding.message


@pytest.mark.parametrize(
    ("wanted", "answered", "verdict"),
    [("m", False, "ok"), ("n", False, "fail"), ("n", True, "warn")],
)
def test_a_model_that_answers_though_it_is_not_listed_is_no_failure(
    wanted: str, answered: bool, verdict: str
) -> None:
    assert judging.model(wanted, "", ["m"], answered=answered).verdict == verdict


@pytest.mark.parametrize("answered", [None, False])
def test_only_who_did_not_ask_is_advised_to_ask(answered: bool | None) -> None:
    missing = RefusedError("not_found", "there is no such page", "Look at the URL.")
    findings = (
        judging.model("n", "", ["m"], answered=answered),
        judging.listing("h", None, missing, answered=answered),
    )
    assert [("`--ask`" in finding.hint) for finding in findings] == [answered is None] * 2


FINE = FolderFacts("/s", "/s", free_bytes=1 << 40, filesystem="ext4")


@pytest.mark.parametrize(
    ("facts", "check", "verdict"),
    [
        ({"refused": OSError(errno.EACCES, "")}, "folder", "fail"),
        ({"refused": OSError(errno.EROFS, "")}, "folder", "fail"),
        ({"refused": OSError(errno.ENOSPC, "")}, "folder", "fail"),
        ({"refused": OSError(errno.EDQUOT, "")}, "folder", "fail"),
        ({"refused": OSError(errno.ENOTDIR, "")}, "folder", "fail"),
        ({"mode": 0o750}, "mode", "warn"),
        ({"mode": 0o755}, "mode", "warn"),
        ({"mode": 0o777, "nearest": "/"}, "mode", "ok"),
        ({"filesystem": "nfs"}, "filesystem", "warn"),
        ({"filesystem": "nfs4"}, "filesystem", "warn"),
        ({"filesystem": "cifs"}, "filesystem", "warn"),
        ({"filesystem": "fuse.sshfs"}, "filesystem", "warn"),
        ({"filesystem": "xfs"}, "filesystem", "ok"),
        ({"free_bytes": 0}, "space", "fail"),
        ({"free_bytes": 50 << 20}, "space", "warn"),
        ({"free_files": 0}, "space", "fail"),
        ({"torn": ("a",)}, "sessions", "warn"),
        ({"torn": tuple("abcde")}, "sessions", "warn"),
        ({"unreadable": ("a",)}, "sessions", "warn"),
        ({"unreadable": ("a",), "torn": ("b",)}, "sessions", "warn"),
        ({"orphans": ("a", "b")}, "spools", "warn"),
    ],
)
def test_what_was_seen_of_the_folder_is_judged(
    facts: dict[str, Any], check: str, verdict: str
) -> None:
    findings = {each.check: each for each in judge_folder(FINE._replace(**facts))}
    assert findings.pop(check).verdict == verdict
    assert {each.verdict for each in findings.values()} <= {"ok"}
    assert {each.verdict for each in judge_folder(FINE)} == {"ok"}


MOUNTS = (
    "1 0 8:1 / / rw - ext4 /dev/sda1 rw",
    "2 1 0:9 / /home rw,relatime shared:1 - nfs4 server:/home rw",
    "3 1 0:9 / /home/me/My\\040Disk rw - xfs /dev/sdb rw",
    "nonsense",
    "",
)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "ext4"), ("/homely", "ext4"), ("/home", "nfs4"), ("/home/me/s", "nfs4"),
     ("/home/me/My Disk/s", "xfs")],
)  # fmt: skip
def test_the_filesystem_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert filesystem_of(path, MOUNTS) == kind


def test_without_mounts_nothing_is_told_of_the_filesystem() -> None:
    assert filesystem_of("/", []) is None


def test_a_finding_is_one_line_without_a_secret() -> None:
    shown = Finding("c", "fail", "a sk-secret-1234\nb\tc", "\x1b[2J").without(["sk-secret-1234"])
    assert shown == Finding("c", "fail", "a [key]^Jb c", "^[[2J")


def test_the_worst_verdict_stands_for_all() -> None:
    verdicts = [Finding("c", each, "") for each in ("ok", "warn", "fail")]
    assert [worst(verdicts[:count]) for count in range(4)] == ["ok", "ok", "warn", "fail"]
