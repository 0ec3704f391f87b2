"""Links to where the project is published: to Colab, to edit a page, to open an issue.

All follow from one setting, `repository: url` of _config.yml. Without it there are none: no link is dead.
"""

from pathlib import Path

COLAB = "https://colab.research.google.com"
HOSTS = ("github", "gitlab", "bitbucket")  # whose forms of links the theme knows


def options(url: str, branch: str = "main") -> dict:
    """Return the theme's options for a project at `url`; empty for none, and for hosts of other kinds.

    >>> sorted(options("https://github.com/an-owner/a-project.git"))[:2]
    ['launch_buttons', 'repository_branch']
    >>> options("")
    {}
    """
    url = url.removesuffix("/").removesuffix(".git")
    if not any(host in url for host in HOSTS):
        return {}
    return {
        "repository_url": url,
        "repository_branch": branch,
        "launch_buttons": {"colab_url": COLAB} if "//github.com/" in url else {},  # Colab opens no others
        **dict.fromkeys(("use_repository_button", "use_edit_page_button", "use_issues_button"), True),
    }


def offer(app, config) -> None:
    """Sphinx's config-inited: let the theme make the links, if there is an address."""
    import yaml

    settings = yaml.safe_load(Path(app.confdir, "_config.yml").read_text(encoding="utf-8"))
    place = settings.get("repository") or {}
    config.html_theme_options |= options(place.get("url") or "", place.get("branch") or "main")


def edit_the_source(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Sphinx's html-page-context: a chapter is edited in its script, which its notebook is made from."""
    if not Path(app.srcdir, f"{pagename}.py").is_file():
        return
    for button in _flat(context.get("header_buttons", [])):
        if button.get("label") == "source-edit-button":
            button["url"] = f"{button['url'].removesuffix('.ipynb')}.py"


def _flat(buttons: list[dict]) -> list[dict]:
    return [each for button in buttons for each in (button, *_flat(button.get("buttons", [])))]


def setup(app) -> dict:
    app.connect("config-inited", offer, priority=100)
    app.connect("html-page-context", edit_the_source, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
