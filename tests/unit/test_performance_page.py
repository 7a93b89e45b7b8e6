"""docs/performance.md is written by a program from what was measured; it is not edited by hand."""

from benchmarks.report import ORDER, PAGE, PLOTS, page, read_results


def test_the_page_is_what_the_results_give() -> None:
    """A number that was typed in, or a result without its page, fails the build; `make bench` writes both."""
    results = read_results()

    assert results
    assert PAGE.read_text() == page(results)


def test_each_result_has_its_plot() -> None:
    """The page shows a picture for each scenario that was measured, and for no other."""
    drawn = {path.stem for path in PLOTS.glob("*.svg")}

    assert drawn == set(read_results()) <= set(ORDER)
