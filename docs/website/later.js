// The theme's script (search, copy buttons, a menu that follows) takes more time than the page itself, and fetches the
// index of the search. It is loaded when a reader first points, touches, scrolls or presses a key; a click, "/" or
// Ctrl+K that needs it is kept until it is there. An address that asks for it (?q=, ?h=) has it at once.
{
  const source = document.currentScript.dataset.theme;
  const starts = ["pointerdown", "pointermove", "touchstart", "wheel", "scroll", "keydown", "focusin"];
  const needsTheme = ".md-search__button, label[for^=__palette]";
  let waiting = null;
  const keepClick = (event) => {
    const target = event.target.closest(needsTheme);
    if (!target) return;
    event.preventDefault();
    waiting = target;
  };
  const keepKey = (event) => {
    if (event.key !== "/" && !(event.key === "k" && (event.ctrlKey || event.metaKey))) return;
    event.preventDefault(); // browsers have a search of their own there
    waiting = document.querySelector(".md-search__button");
  };
  const load = () => {
    for (const start of starts) removeEventListener(start, load, true);
    const script = document.createElement("script");
    script.src = source;
    script.onload = () => {
      removeEventListener("click", keepClick, true);
      removeEventListener("keydown", keepKey, true);
      if (waiting) waiting.click();
    };
    document.body.append(script);
  };
  addEventListener("click", keepClick, true);
  addEventListener("keydown", keepKey, true);
  for (const start of starts) addEventListener(start, load, { capture: true, passive: true });
  if (location.search) load();
}
