from __future__ import annotations

from paceline.tuning.report.frames import path, short, thinned
from paceline.tuning.report.markup import Markup, join, safe_link, tag

EVIL = "<script>alert('x')</script>&\""


def test_text_is_escaped_and_markup_is_not():
    assert tag("b", EVIL) == "<b>&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;&quot;</b>"
    assert tag("b", tag("i", 1)) == "<b><i>1</i></b>"
    assert join("<", Markup("<br>")) == "&lt;<br>"


def test_attributes_are_escaped_and_left_out_when_there_is_nothing_to_say():
    assert tag("i", title=EVIL, hidden=None, data_t=3, class_="a") == (
        '<i title="&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;&quot;" '
        'data-t="3" class="a"></i>'
    )
    assert tag("br", hidden=True) == "<br hidden>"


def test_an_address_that_is_none_of_the_web_s_makes_no_link():
    assert safe_link("run", "javascript:alert(1)") == "run"
    assert safe_link("<", "") == "&lt;"
    assert 'href="https://host/?a=1&amp;b"' in safe_link("run", "https://host/?a=1&b")


def test_a_line_is_interrupted_where_a_point_has_no_place():
    assert path([(0, 1), (2, 3), (None, 1), (4.25, 5)]) == "M0,1L0,1L2,3M4.2,5L4.2,5"
    assert path([(0.0, float("nan"))]) == ""


def test_a_thinned_curve_keeps_its_ends():
    assert thinned(list(range(1000)), 50)[::50] == [0, 999]
    assert thinned([1, 2]) == [1, 2]
    assert len(thinned(list(range(61)), 60)) <= 61


def test_a_long_label_is_cut_and_whole_in_its_tooltip():
    assert short("a<b" * 9, 5) == f"a&lt;ba…<title>{'a&lt;b' * 9}</title>"
    assert short("abc", 5) == "abc"
