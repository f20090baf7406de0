"""The style sheet of the page of HTML: light and dark, narrow and wide, and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c2227; --dim: #56616b; --paper: #fdfdfc; --card: #eef2f6; --line: #d3dbe2;
  --link: #0b57a4; --bad: #9a1b1b; --bad-card: #fbecec;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #dde3e8; --dim: #9aa7b2; --paper: #14181c; --card: #1f272e; --line: #36414b;
    --link: #7fbaf4; --bad: #ff9f97; --bad-card: #38201f;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 50rem; padding: 1.5rem 1.25rem 3rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif;
  overflow-wrap: anywhere;
}
a { color: var(--link); }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1.5rem; }
article { border-top: 1px solid var(--line); padding: 1rem 0 1.75rem; }
article:target { border-top: 3px solid var(--link); }
article > h2 { display: inline; font-size: .9rem; margin: 0 .6rem 0 0; }
article > h2 a { text-decoration: none; }
article > h2 a:hover, article > h2 a:focus-visible { text-decoration: underline; }
.about { display: inline; color: var(--dim); font-size: .9rem; }
section { margin-top: 1rem; }
section > h3 { margin: 0 0 .25rem; font-size: .9rem; color: var(--dim); }
.question, .system { background: var(--card); border-radius: .6rem; padding: .7rem 1rem; }
.system { border: 1px dashed var(--line); background: none; }
.written { white-space: pre-wrap; tab-size: 4; unicode-bidi: plaintext; }
.said > :first-child { margin-top: 0; }
.said > :last-child { margin-bottom: 0; }
.said h3, .said h4, .said h5, .said h6 { margin: 1.4em 0 .5em; line-height: 1.3; font-size: 1rem; }
.said h3 { font-size: 1.3rem; }
.said h4 { font-size: 1.12rem; }
code, pre {
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Noto Sans Mono", "DejaVu Sans Mono",
    monospace;
  font-size: .9em;
}
code { background: var(--card); border-radius: .25rem; padding: .1em .3em; }
pre {
  background: var(--card); border: 1px solid var(--line); border-radius: .4rem;
  padding: .75rem .9rem; overflow-x: auto; line-height: 1.45; tab-size: 4;
  overflow-wrap: normal;
}
pre code { background: none; padding: 0; font-size: 1em; }
pre:focus-visible, a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
blockquote { margin: 1em 0; padding: 0; padding-inline-start: 1rem; }
blockquote { border-inline-start: 3px solid var(--line); color: var(--dim); }
ul, ol { padding: 0; padding-inline-start: 1.6rem; }
hr { border: 0; border-top: 1px solid var(--line); margin: 1.5em 0; }
table { display: block; max-width: 100%; overflow-x: auto; border-collapse: collapse; }
table { margin: 1em 0; overflow-wrap: normal; }
th, td { border: 1px solid var(--line); padding: .35rem .6rem; text-align: start; }
th { background: var(--card); }
.right { text-align: right; }
.center { text-align: center; }
.files { list-style: none; margin: .6rem 0 0; padding: 0; color: var(--dim); font-size: .9rem; }
.fault {
  margin: 1rem 0 0; padding: .6rem 1rem; border-inline-start: 4px solid var(--bad);
  background: var(--bad-card); color: var(--bad);
}
footer { border-top: 1px solid var(--line); padding-top: 1rem; color: var(--dim); }
footer { font-size: .9rem; }
@media (max-width: 30rem) {
  body { padding: 1rem .9rem 2rem; }
  h1 { font-size: 1.35rem; }
  ul, ol { padding-inline-start: 1.3rem; }
}
@media print {
  :root {
    color-scheme: light;
    --ink: #000; --dim: #444; --paper: #fff; --card: #f3f3f3; --line: #bbb; --link: #000;
    --bad: #000; --bad-card: #fff;
  }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  table { display: table; overflow-wrap: anywhere; }
  h2, h3, .about { break-after: avoid; }
  tr, .fault { break-inside: avoid; }
  .said a[href^="http"]::after { content: " (" attr(href) ")"; color: var(--dim); }
}
"""
