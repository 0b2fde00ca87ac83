"""What a user sees: MLflow's pages of what was recorded, and our page of a comparison without a network."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import of_runs

CURVES = "new Set([...document.querySelectorAll('path.js-line')].map(line => line.getAttribute('d'))).size"
"""How many curves a chart shows. It draws each twice (smoothed, and faintly as it is), and runs may share a color."""


def test_a_search_is_one_row_that_opens_to_its_trials(page, server, recorded):
    page.goto(f"{server}/experiments/{recorded.experiment}/runs")
    search = page.get_by_role("row").filter(has=page.get_by_role("link", name=recorded.search.info.run_name))
    names = [page.get_by_role("link", name=trial.info.run_name, exact=True) for trial in recorded.trials]
    expect(search).to_be_visible()
    assert len(names) == 3
    for name in names:
        expect(name).to_have_count(0)
    search.locator("button[data-component-id*=runnamecell]").click()
    for name in names:
        expect(name).to_be_visible()


def test_trials_are_compared_by_the_parameters_that_differ(page, server, recorded):
    first, second = recorded.trials[:2]
    page.goto(f"{server}/compare-runs?{of_runs((first, second), recorded.experiment)}")
    page.get_by_role("switch").first.click()
    expect(page.get_by_role("row", name="batch_size")).to_have_count(0)
    ours, others = first.data.params, second.data.params
    differing = [name for name in ours if ours[name] != others[name]]
    assert "optimizer.learning_rate" in differing
    for name in differing:
        expect(page.get_by_role("row").filter(has=page.get_by_text(name, exact=True)).first).to_be_visible()
    row = page.get_by_role("row", name="optimizer.learning_rate").first
    row.scroll_into_view_if_needed()
    for params in (ours, others):
        expect(row).to_contain_text(params["optimizer.learning_rate"])


def test_curves_of_trials_lie_over_each_other(page, server, recorded):
    compared = recorded.trials[:2]
    page.goto(f"{server}/compare-runs?{of_runs(compared, recorded.experiment)}")
    page.get_by_role("link", name="val/loss", exact=True).click()
    for trial in compared:
        expect(page.get_by_text(f"{trial.info.run_name} (val/loss)", exact=True)).to_be_visible()
    page.wait_for_function(CURVES + " === 2")


def test_a_figure_opens_as_a_picture(page, server, recorded):
    page.goto(f"{server}/experiments/{recorded.experiment}/runs/{recorded.trained.info.run_id}/artifacts")
    page.get_by_label("figures", exact=True).click()
    page.get_by_label("learning_curves.png", exact=True).click()
    picture = page.get_by_role("img", name="figures/learning_curves.png")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 500


def test_a_recipe_opens_as_text(page, server, recorded):
    page.goto(f"{server}/experiments/{recorded.experiment}/runs/{recorded.trained.info.run_id}/artifacts")
    page.get_by_label("recipe.json", exact=True).click()
    expect(page.get_by_text('"MultilayerPerceptron"', exact=True)).to_be_visible()


def test_a_comparison_needs_no_network(page, recorded):
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.context.set_offline(True)
    page.goto(recorded.comparison.as_uri())
    expect(page.get_by_text(re.compile(r"^On these 364 test images A is better than B by"))).to_be_visible()
    figures = page.locator("figure img")
    expect(figures).not_to_have_count(0)
    for image in page.locator("img").all():
        expect(image).to_be_visible()
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert asked[0].startswith("file://")
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    assert not complaints
