"""A browser that looks at notebooks. Without Chromium these tests are skipped; SAMGEO_BROWSER=required makes that an error."""

from __future__ import annotations

import os

import pytest
from lab_notebook import PATIENCE_S, VIEWPORT, Notebook
from lab_server import BROWSERS, find_browser, jupyterlab


# Of the module, not of the session: while playwright runs, its event loop is in the way of others.
@pytest.fixture(scope="module")
def browser():
    path = find_browser()
    if path is None:
        reason = f"there is no browser (looked for {', '.join(BROWSERS)}); on Debian, apt-get install chromium"
        if os.environ.get("SAMGEO_BROWSER") == "required":
            pytest.fail(f"{reason}; SAMGEO_BROWSER=required does not let this test be skipped", pytrace=False)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without a sandbox, as Chromium's refuses to run for root; only pages of this machine are opened.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def screen():
    """What the page is shown on, as Playwright's contexts take it."""
    return {"viewport": VIEWPORT}


@pytest.fixture(scope="module")
def opened(browser, screen, tmp_path_factory):
    """A notebook in JupyterLab, its page and its kernel: they take longer to start than most tests take."""
    folder = tmp_path_factory.mktemp("notebooks")
    with jupyterlab(tmp_path_factory.mktemp("home"), folder) as address:
        context = browser.new_context(**screen)
        context.set_default_timeout(1000 * PATIENCE_S)
        notebook = Notebook(context.new_page(), address, folder / "map.ipynb")
        notebook.open()
        yield notebook
        notebook.close()


@pytest.fixture
def notebook(opened):
    """The notebook; after the test its console must be clean, and no request have left the machine."""
    yield opened
    complaints, opened.complaints = opened.complaints, []
    assert complaints == []
