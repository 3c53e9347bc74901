from explore.words import as_typed, code


def test_text_that_a_person_typed_is_no_markdown():
    assert as_typed(r"a_b *c* [d] $e$ \f :g:") == r"a\_b \*c\* \[d\] \$e\$ \\f \:g\:"
    assert as_typed("<b> &amp; 1.\n\n# x\n- y") == r"\<b\> \&amp\; 1\. \# x \- y"
    assert as_typed("1234", most=3) == "123…"
    assert as_typed("a\udcff\u202eb\x1b") == r"a\\xff\\u202eb\\x1b"  # a file name that is no UTF-8, and others


def test_code_holds_any_text():
    assert code("a\nb") == "`a b`"
    assert code("a`b``c") == "``` a`b``c ```"
