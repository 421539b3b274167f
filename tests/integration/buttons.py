"""Presses what can be pressed on the pages of MLflow's UI, as a person who is curious would, and notes what came of it.

A page's buttons are pressed one after the other, each while the page shows what it showed when it was opened. What a
press brings up, a menu or a dialog, has buttons in turn; they are pressed as well, each on the way that leads to it.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass, field

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Request

from .browser import Visit

#: Finds what can be pressed, names it, and remembers the elements. What looks alike in a list has one name.
FIND = r"""
() => {
  const roles = ['button', 'tab', 'menuitem', 'menuitemradio', 'menuitemcheckbox', 'switch', 'combobox', 'radio'];
  const what = ['button', 'input[type=checkbox]', 'input[type=radio]', ...roles.map(role => `[role=${role}]`)];
  window.pressable = {};
  for (const element of document.querySelectorAll(what.join(','))) {
    const box = element.getBoundingClientRect();
    if (!element.checkVisibility({visibilityProperty: true}) || box.width < 2 || box.height < 2) continue;
    if (element.disabled || element.getAttribute('aria-disabled') === 'true') continue;
    const row = element.closest('[role=row], tr');
    const text = element.getAttribute('aria-label') || element.innerText || element.title || '';
    const shown = row ? '' : text.trim().replace(/\s+/g, ' ').replace(/\d+/g, '0').slice(0, 40);
    const role = element.getAttribute('role') || element.type || element.tagName.toLowerCase();
    const name = [role, shown, element.dataset.componentId || ''].join('|');
    if (!(name in window.pressable)) window.pressable[name] = element;
  }
  return Object.keys(window.pressable);
}
"""
#: Fills the empty fields of a dialog, as most of its buttons ask for.
FIELD = "[role=dialog] :is(textarea, input:not([type=checkbox], [type=radio], [role=combobox])):visible"
#: What removes things, or changes the pages that come after, is pressed last.
LAST = re.compile(r"delete|remove|clear|close|dismiss|switch|assistant", re.IGNORECASE)
#: The two halves of the UI, of which each has a walk of its own.
HALVES = re.compile(r"\|(GenAI|Model training)\|")
#: What the UI shows when the server has failed.
BANNER = re.compile(
    r"Internal Server Error|INTERNAL_ERROR|Something went wrong|can't start new thread|Something.s gone wrong"
)


@dataclass
class Walk:
    """A walk over pages, in one visit.

    Args:
        visit: The visit; its problems are looked through after each press.
        expected: What may be refused (a regular expression for a problem), and why.
        depth: How many presses deep to go: 1 is what a page shows at first.
    """

    visit: Visit
    expected: dict[str, str]
    depth: int = 1
    pressed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _everywhere: set[str] = field(default_factory=set)
    _opened: tuple[str, list[str]] = ("", [])
    _under_way: dict[Request, float] = field(default_factory=dict)
    _texts: int = 0

    def __post_init__(self) -> None:
        page = self.visit.page
        page.on("request", lambda request: self._under_way.__setitem__(request, time.monotonic()))
        page.on("requestfinished", self._answered)
        page.on("requestfailed", self._answered)
        page.on("popup", lambda popup: popup.close())

    def _answered(self, request: Request) -> None:
        self._under_way.pop(request, None)

    def page(self, place: str) -> None:
        """Presses what a page has, by its place in the UI."""
        seen: set[str] = set()
        ways: list[tuple[str, ...]] = [()]
        while ways:
            way = ways.pop(0)
            if not self._go(place, way) or len(way) == self.depth:
                continue
            new = [name for name in self._names() if name not in seen | self._everywhere]
            seen.update(new)
            if not way:
                self._everywhere |= {name for name in new if self._in_frame(name)}
            ways += [(*way, name) for name in new if not LAST.search(name)]
            ways += [(*way, name) for name in new if LAST.search(name)]

    def look_at(self, place: str) -> None:
        """Opens a page and presses nothing."""
        self._go(place, ())

    def _go(self, place: str, way: tuple[str, ...]) -> bool:
        """Goes to the page and presses what leads to the last button, and it. Returns whether all were there."""
        page = self.visit.page
        page.keyboard.press("Escape")
        self.settle()
        # What the last press has brought up may be gone by that; otherwise the page is opened anew.
        if not way or (page.url, self._names()) != self._opened:
            self.visit.open("nowhere")
            self.visit.open(place)
            self.settle()
            self._arrive()
            self._opened = (page.url, self._names())
            self._look(place, ())
        for count, name in enumerate(way, 1):
            if name not in self._names():
                return False
            self._fill()
            self._press(name)
            self.settle()
            self._look(place, way[:count])
        if way:
            self.pressed.append(f"{place}: {' > '.join(way)}")
        # A press that leads to another page: that one has a walk of its own.
        return place.partition("?")[0] in page.url

    def _arrive(self) -> None:
        """Waits until the page's own content is there: it is loaded piece by piece."""
        before: list[str] = []
        for _ in range(20):
            names = [name for name in self._names() if name not in self._everywhere]
            if names and names == before:
                return
            before = names
            self.settle()

    def _names(self) -> list[str]:
        names: list[str] = self.visit.page.evaluate(FIND)
        return [name for name in names if not HALVES.search(name)]

    def _in_frame(self, name: str) -> bool:
        """Tells whether it is beside the page's own content: the same everywhere."""
        script = "name => !window.pressable[name].closest('main')"
        return bool(self.visit.page.evaluate(script, name))

    def _press(self, name: str) -> None:
        element = self.visit.page.evaluate_handle("name => window.pressable[name]", name).as_element()
        assert element is not None
        try:
            element.click(timeout=1_000)
        except PlaywrightError:
            # Something lies above it, as a tooltip: a person would use the keyboard.
            with contextlib.suppress(PlaywrightError):
                element.dispatch_event("click")

    def _fill(self) -> None:
        for entry in self.visit.page.locator(FIELD).all():
            with contextlib.suppress(PlaywrightError):
                if not entry.input_value(timeout=500):
                    self._texts += 1
                    entry.fill(f"text-{self._texts}", timeout=500)

    def settle(self) -> None:
        """Waits until the page asks for nothing more; answers that stay open, as of a stream, count for 5 s."""
        quiet = 0
        deadline = time.monotonic() + 15
        while quiet < 3 and time.monotonic() < deadline:
            self.visit.page.wait_for_timeout(50)
            recent = [begun for begun in self._under_way.values() if time.monotonic() - begun < 5]
            quiet = 0 if recent else quiet + 1

    def _look(self, place: str, way: tuple[str, ...]) -> None:
        """Takes over what went wrong since the last look."""
        banner = BANNER.search(self.visit.page.evaluate("document.body.innerText"))
        found = [*self.visit.problems, *([f"shown: {banner[0]}"] if banner else [])]
        self.visit.problems.clear()
        where = f"{place}: {' > '.join(way)}: "
        self.problems += [where + one for one in found if not any(re.search(known, one) for known in self.expected)]
