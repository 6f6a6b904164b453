// What is wide scrolls sideways: by the keyboard as well. The theme's script, once it is there, wraps tables into what
// scrolls, and does the same for code.
const reach = () => {
  for (const wide of document.querySelectorAll(
    ".md-typeset table:not([class]), .md-typeset__scrollwrap, .md-typeset pre > code",
  )) {
    if (wide.scrollWidth > wide.clientWidth && !wide.closest(".md-typeset__table")) wide.tabIndex = 0;
    else if (wide.matches("table")) wide.removeAttribute("tabindex");
  }
};
addEventListener("load", reach);
addEventListener("resize", reach);
new MutationObserver(reach).observe(document.querySelector("article"), { childList: true });
