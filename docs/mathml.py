"""Formulas between dollars become MathML when the site is built, which browsers show by themselves."""

import html
import re

import latex2mathml.converter

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content, **_):
    """MkDocs calls this with each page as HTML, in which arithmatex has marked the formulas."""
    return FORMULA.sub(_mathml, content)


def _mathml(match):
    display = "block" if match[2] == "[" else "inline"
    return latex2mathml.converter.convert(html.unescape(match[3]), display=display)
