// A button and the chat in a frame of its own: nothing of this page is read, and nothing is written into it but these.
//   <script src="https://assistant.example.com/chat/help.js" data-title="Ask us" data-key="..." async></script>
(() => {
  "use strict";
  const script = document.currentScript;
  const address = new URL(script.src).href.replace(/\.js(\?.*)?$/, "");
  const title = script.dataset.title || "Chat";
  const place = (node, rules) => Object.entries(rules).forEach(([name, value]) => node.style.setProperty(name, value));
  const opener = document.createElement("button");
  opener.type = "button";
  opener.textContent = title;
  opener.setAttribute("aria-expanded", "false");
  place(opener, {
    position: "fixed", right: "20px", bottom: "20px", "z-index": "2147483000", padding: "12px 20px", border: "0", "border-radius": "24px",
    background: "#2563eb", color: "#fff", font: "600 16px/1.25 system-ui, sans-serif", cursor: "pointer",
  });
  let frame = null;
  const show = (isOpen) => {
    if (isOpen && !frame) {
      frame = document.createElement("iframe");
      frame.title = title;
      frame.src = script.dataset.key ? `${address}#key=${encodeURIComponent(script.dataset.key)}` : address;
      place(frame, {
        position: "fixed", right: "20px", bottom: "76px", width: "min(400px, calc(100vw - 40px))", height: "min(640px, calc(100vh - 96px))",
        border: "1px solid #d4d4d8", "border-radius": "12px", "z-index": "2147483000", background: "#fff", "color-scheme": "light dark",
      });
      document.body.append(frame);
    }
    if (frame) frame.hidden = !isOpen;
    if (frame) frame.style.setProperty("display", isOpen ? "block" : "none");
    opener.setAttribute("aria-expanded", String(isOpen));
  };
  opener.addEventListener("click", () => show(opener.getAttribute("aria-expanded") !== "true"));
  const start = () => document.body.append(opener);
  if (document.body) start(); else addEventListener("DOMContentLoaded", start);
})();
