// A wide table scrolls sideways: by the keyboard as well. The theme's script, once it is there, wraps it into what scrolls.
const reach = () => {
  for (const table of document.querySelectorAll(".md-typeset table:not([class]), .md-typeset__scrollwrap")) {
    if (table.scrollWidth > table.clientWidth && !table.closest(".md-typeset__table")) table.tabIndex = 0;
    else table.removeAttribute("tabindex");
  }
};
addEventListener("load", reach);
addEventListener("resize", reach);
new MutationObserver(reach).observe(document.querySelector("article"), { childList: true });
