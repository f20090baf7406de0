"""Templates: what they are given goes in, what they may not reach stays out, and all of it ends."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipechat.errors import UsageError
from pipechat.turn.template import compile_template
from tests.properties import MODEST

VALUES: dict[str, Any] = {
    "input": "in & <put>\n",
    "mail": {"from": "ann", "items": [1, "é"], "count": 2, "a b": "c"},
    "rows": [{"n": 1, "t": "x"}, {"n": 2, "t": "y"}],
}


def render(source: str, **more: Any) -> str:
    return compile_template(source).render({**VALUES, **more})


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("Sum up:\n{{ input }}", "Sum up:\nin & <put>\n"),
        ("the last newline stays\n", "the last newline stays\n"),
        ("{{ mail.from }}: {{ mail['a b'] }}", "ann: c"),
        ("{{ mail.items }} {{ mail.count }}", '[1,"é"] 2'),
        ("{{ rows|tojson }}", '[{"n":1,"t":"x"},{"n":2,"t":"y"}]'),
        (
            "{% for r in rows %}{{ loop.index }}{{ r.t }}{{ loop.last }}{% endfor %}",
            "1xFalse2yTrue",
        ),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}={{ v }}{% endfor %}", "a=1"),
        ("{% for i in range(3) %}{{ i }}{% else %}none{% endfor %}", "012"),
        ("{% if mail.to is defined %}y{% else %}n{% endif %}{{ nope|default('d') }}", "nd"),
        ("{{ rows|map(attribute='n')|join('+') }}={{ rows|sum(attribute='n') }}", "1+2=3"),
        ("{{ rows|selectattr('n', 'gt', 1)|map(attribute='t')|first }}", "y"),
        ("{{ input.strip().upper()|replace('&', 'and') }}", "IN and <PUT>"),
        ("{{ 'a' ~ 1 ~ [2] ~ none }}", "a1[2]None"),
        ("{{ 'ab' * 2 + 'c' }}{{ 7 % 4 }}{{ 2 ** 5 }}{{ 1.26|round(1) }}", "ababc3321.3"),
        ("{{ input[:2] }}{{ 'in' in input }}", "inTrue"),
        ("{% set x %}{{ input|trim }}!{% endset %}{{ x }}{{ x }}", "in & <put>!in & <put>!"),
        ("{% filter upper %}a{{ mail.from }}{% endfilter %}", "AANN"),
        ("{% raw %}{{ input }}{% endraw %}{# no #}", "{{ input }}"),
        ("{{ range }}", "5"),
    ],
)
def test_what_a_template_says(source: str, text: str) -> None:
    more = {"range": 5} if source == "{{ range }}" else {}
    assert render(source, **more) == text


@MODEST
@given(st.text(), st.text())
def test_what_is_given_goes_in_to_the_character_and_is_no_template(a: str, b: str) -> None:
    values = {"a": a + "{{ b }}{% if %}", "b": b}
    assert compile_template("{{ b }}|{{ a }}\n").render(values) == f"{b}|{a}{{{{ b }}}}{{% if %}}\n"


def test_a_template_is_compiled_once_and_rendered_for_each_item() -> None:
    template = compile_template("{% for i in range(90000) %}{% endfor %}{{ n }}")
    assert [template.render({"n": n}) for n in range(4)] == [str(n) for n in range(4)]


@pytest.mark.parametrize(
    ("source", "name", "line"),
    [
        ("{{ nope }}", "'nope'", 1),
        ("\n\n{{ mail.to }}", "'to'", 3),
        ("{{ mail.to.name }}", "'to'", 1),
        ("{{ rows[9] }}", "9", 1),
        ("a\n{% for x in missing %}{% endfor %}", "'missing'", 2),
        ("{{ nope ~ 'x' }}", "'nope'", 1),
        ("{{ nope|upper }}", "'nope'", 1),
        ("{% if nope %}{% endif %}", "'nope'", 1),
        ("{{ nope() }}", "'nope'", 1),
        ("{{ [nope] }}", "'nope'", 1),
    ],
)
def test_what_is_undefined_is_named_with_its_line(source: str, name: str, line: int) -> None:
    with pytest.raises(UsageError) as caught:
        render(source)
    assert (caught.value.code, int(caught.value.exit_code)) == ("undefined_variable", 2)
    assert name in caught.value.message
    assert f"line {line}:" in caught.value.message
    assert "Given: input, mail, rows" in caught.value.line()


@pytest.mark.parametrize(
    ("source", "line", "said"),
    [
        ("{% if %}", 1, "end of statement"),
        ("a\nb {{ x", 2, "end of template"),
        ("\n{% nonsense %}", 2, "nonsense"),
        ("{{ x|no_such }}", 1, "no_such"),
        ("{% include 'x' %}", 1, "include"),
        ("\n\n{% import 'x' as y %}", 3, "import"),
        ("{% from 'x' import y %}", 1, "import"),
        ("{% extends 'x' %}", 1, "extends"),
        ("{% block x %}{% endblock %}", 1, "block"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", 1, "macro"),
        ("{% for x in rows recursive %}{{ loop(rows) }}{% endfor %}", 1, "recursive"),
        ("{{ x|_counted }}", 1, "_counted"),
    ],
)
def test_a_template_that_is_wrong_is_told_with_its_line(source: str, line: int, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        compile_template(source, where="the template q.txt")
    assert caught.value.code == "bad_template"
    assert f"the template q.txt is wrong in line {line}: " in caught.value.message


# Payloads that are public knowledge: what each is after is the interpreter behind the template.
REACHING = """
{{ ''.__class__ }}
{{ ''.__class__.__mro__[1].__subclasses__() }}
{{ ''['__class__'] }}
{{ ''|attr('__class__') }}
{{ [].__class__.__base__.__subclasses__() }}
{{ {}.__class__.__bases__[0] }}
{{ ().__class__.__bases__[0].__subclasses__()[40]('/etc/passwd').read() }}
{{ self }}
{{ self.__init__.__globals__ }}
{{ self._TemplateReference__context.cycler.__init__.__globals__.os.popen('id').read() }}
{{ cycler.__init__.__globals__.os.popen('id').read() }}
{{ joiner.__init__.__globals__.os.popen('id').read() }}
{{ namespace.__init__.__globals__.os.popen('id').read() }}
{{ namespace(a=1).a }}
{{ lipsum.__globals__['os'].popen('id').read() }}
{{ lipsum() }}
{{ dict(a=1) }}
{{ config.items() }}
{{ request.application.__globals__ }}
{{ url_for.__globals__ }}
{{ get_flashed_messages.__globals__ }}
{{ range.__init__ }}
{{ range.__call__.__self__ }}
{{ range.__globals__ }}
{{ range.func_globals }}
{{ input.upper.__self__ }}
{{ input.__add__('x') }}
{{ loop.__init__ }}
{% for x in rows %}{{ loop.__init__.__globals__ }}{% endfor %}
{% for x in rows %}{{ loop._iterator }}{% endfor %}
{% for x in rows %}{{ loop.cycle.__func__ }}{% endfor %}
{{ '{0.__class__}'.format(input) }}
{{ '{0.__class__.__init__.__globals__}'.format(range) }}
{{ '{x.__class__}'.format_map({'x': 1}) }}
{% set f = ''.format %}{{ f() }}
{{ '%s'|format(input) }}
{{ '%(a)s' % mail }}
{{ ['{0.__class__}']|map('format', 1)|list }}
{{ rows|map(attribute='__class__')|list }}
{{ rows|map('attr', '__class__')|list }}
{{ rows|sort(attribute='__class__') }}
{{ rows|selectattr('__class__')|list }}
{{ rows|groupby('__class__') }}
{{ rows|sum(attribute='__class__') }}
{{ input.encode() }}
{{ input.translate({105: 'x'}) }}
{{ rows.append(1) }}
{{ rows.clear() }}
{{ mail.pop('from') }}
{{ mail.update({'a': 1}) }}
{{ mail.setdefault('z', 1) }}
{{ mail.__setitem__('a', 1) }}
{% set mail.x = 1 %}
{{ (1).__class__ }}
{{ (1).to_bytes(9) }}
{{ (1.5).__class__ }}
{{ none.__class__ }}
{{ undefined_name.__class__ }}
{{ ''|string.__class__ }}
{{ caller() }}
{{ super() }}
{{ varargs }}
{{ input|pprint }}
{{ input|xmlattr }}
{{ input|safe }}
{% debug %}
{% do rows.append(1) %}
{{ _ }}
{{ __builtins__ }}
{{ environment }}
{{ context }}
{{ resolve('input') }}
""".strip().split("\n")


@pytest.mark.parametrize("payload", REACHING)
def test_no_template_reaches_out_or_changes_what_it_is_given(payload: str) -> None:
    before = repr(VALUES)
    with pytest.raises(UsageError) as caught:
        render(payload)
    assert caught.value.code in ("bad_template", "undefined_variable", "template_failed")
    assert "\n" not in caught.value.line()
    assert repr(VALUES) == before


TOO_MUCH = [
    "{{ 'a' * 10**9 }}",
    "{{ 10**9 * 'a' }}",
    "{{ [0] * 10**9 }}",
    "{{ range(10**9) }}",
    "{{ range(10**30) }}",
    "{{ range(10**9, 0, -1)|length }}",
    "{% for i in range(10**9) %}{% endfor %}",
    "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
    "{% for i in range(90000) %}{% set x = range(90000) %}{% endfor %}",
    "{% for i in range(90000) %}{% set x = 'a' * 9000000 %}{% endfor %}",
    "{% set a = 'a' * 9000000 %}{% for i in range(90000) %}{% set x = a[1:] %}{% endfor %}",
    "{% set a = 'a' * 9000000 %}{% for i in range(90000) %}{{ a == a ~ 'b' }}{% endfor %}",
    "{% set a = 'a' * 9000000 %}{% for i in range(90000) %}{{ a }}{% endfor %}",
    "{% set a = 'a' * 1000 %}" + "{% set a = a ~ a %}" * 40,
    "{% set a = 'a' * 1000 %}" + "{% set a = a + a %}" * 40,
    "{% set a = 'a' * 1000 %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 40,
    "{% set a = 'a' * 1000 %}" + "{% set a = [a, a]|join %}" * 40,
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 40 + "{{ a }}",
    "{% set a = {} %}" + "{% set a = {'x': a, 'y': a} %}" * 40 + "{{ a|tojson }}",
    "{% set a = [1] %}" + "{% set a = a + a %}" * 40,
    "{% set a = 'aaaaaaaaaaaaaaaaaaaa' %}" + "{% set a = a|replace('a', a) %}" * 9,
    "{{ 'x'|replace('', 'a' * 9000000) }}{{ ('a' * 9000)|replace('a', 'a' * 9000) }}",
    "{{ 2 ** (10**9) }}",
    "{{ 10 ** -(10 ** 30) }}",
    "{% set a = 9 %}" + "{% set a = a * a %}" * 60 + "{{ a }}",
    "{{ 'a'.center(10**9) }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ 'a'.zfill(10**9) }}",
    "{{ 'a\\t'.expandtabs(10**9) }}",
    "{{ 'a'|center(10**9) }}",
    "{{ 'a'|indent(10**9) }}",
    "{{ [1]|batch(10**9, 0)|list }}",
    "{{ [1]|slice(10**9)|list }}",
    "{{ '%0999999999d' % 1 }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{{ {'a': 1}|tojson(indent=10**9) }}",
    "{{ 1.5|round(10**9, 'ceil') }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "{{ 1" + " + 1" * 20_000 + " }}",
    "x" * ((1 << 20) + 1),
]


@pytest.mark.parametrize("source", TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_a_template_that_makes_too_much_is_stopped_soon(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What stops at a tenth of the limit stops at the limit.
    monkeypatch.setattr("pipechat.turn.template_limits.MOST_STEPS", 200_000)
    began = time.monotonic()
    with pytest.raises(UsageError) as caught:
        render(source)
    assert caught.value.code in ("bad_template", "template_failed")
    assert len(caught.value.line()) < 500
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "source",
    ["{{ 1 / 0 }}", "{{ 'a' + 1 }}", "\n{{ rows.n.m }}", "{{ [1] < 'a' }}", "{{ mail() }}"],
)
def test_what_makes_no_sense_is_a_usage_error_with_its_line(source: str) -> None:
    with pytest.raises(UsageError, match=f"line {source.count(chr(10)) + 1}"):
        render(source)
