"""The page's own JavaScript: keys, quotes that show their position, text for screen readers, saving and
copying.

It only moves text that the server has escaped: it creates no markup and sends nothing.
"""

from __future__ import annotations

from rmr1_lite.app.sharing import MARK

# (a, b) => values, run in the browser instead of a call of the server
SWAP = "(a, b) => [b, a]"
FRAGMENT = "() => [location.hash]"

SCRIPT = (
    """() => {
  if (window.rmReady) return;
  window.rmReady = true;
  const seen = (e) => e && e.offsetParent !== null;
  const all = (selector, root) => [...(root || document).querySelectorAll(selector)];

  // one live region for the whole page: it stays while the judgments in it are drawn again and again
  const live = document.createElement("div");
  live.id = "rm-live";
  live.className = "rm-sr";
  live.setAttribute("role", "status");
  live.setAttribute("aria-live", "polite");
  document.body.append(live);
  document.documentElement.lang = "en";

  let said = [];
  let ran = false;
  const tell = () => {
    const now = all("[data-say]").filter(seen).map((e) => e.dataset.say);
    const news = now.filter((text, i) => text !== said[i]).pop();
    said = now;
    if (news) live.textContent = news;
    const running = all("[data-running]").some(seen);
    // on a phone the judgment is below what was typed: it comes into view when it begins
    if (running && !ran && matchMedia("(max-width: 767px)").matches) {
      // the judgment is drawn again ten times a second; what holds it stays
      all("[data-running]").find(seen).closest(".block").scrollIntoView({ block: "start" });
    }
    ran = running;
  };
  let waiting = 0;
  new MutationObserver(() => {
    if (!waiting) waiting = setTimeout(() => { waiting = 0; tell(); }, 60);
  }).observe(document.body, { childList: true, subtree: true });

  // quotes: hover, focus or click shows where they are
  const marks = (cite) => {
    const root = cite.closest(".rm-judgment");
    return root ? all(`mark[data-cites~="${CSS.escape(cite.dataset.cite)}"]`, root) : [];
  };
  const show = (cite, on) => {
    cite.classList.toggle("rm-on", on);
    const found = marks(cite);
    found.forEach((mark) => mark.classList.toggle("rm-on", on));
    if (!on || !found.length) return;
    const box = found[0].closest(".rm-response");
    box.scrollTop += found[0].getBoundingClientRect().top - box.getBoundingClientRect().top - 40;
    box.parentElement.scrollLeft = box.offsetLeft - box.parentElement.offsetLeft;
  };
  // a click keeps it lit until something else is clicked: fingers do not hover
  let pinned = null;
  const pin = (cite) => {
    if (pinned && pinned !== cite) show(pinned, false);
    pinned = cite;
    if (!cite) return;
    show(cite, true);
    const mark = marks(cite)[0];
    if (mark) mark.closest(".rm-response").scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const cite = (event) => event.target.closest && event.target.closest(".rm-cite");
  for (const [type, on] of [["mouseover", true], ["mouseout", false], ["focusin", true], ["focusout", false]])
    document.addEventListener(type, (event) => {
      const c = cite(event);
      if (c && (on || c !== pinned)) show(c, on);
    });

  const copy = async (text) => {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    const field = document.createElement("textarea"); // pages without TLS on another machine
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  };
  const save = (text, file) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const done = (button, text) => {
    const before = button.dataset.label || button.textContent;
    button.dataset.label = before;
    button.textContent = text;
    live.textContent = text;
    setTimeout(() => { button.textContent = before; }, 1500);
  };
  document.addEventListener("click", (event) => {
    pin(cite(event));
    const button = event.target.closest && event.target.closest(".rm-actions button");
    if (!button) return;
    const { save: text, name: file, copy: markdown, link } = button.dataset;
    const here = location.origin + location.pathname;
    if (text !== undefined) { save(text, file); done(button, "Saved"); }
    else copy(markdown !== undefined ? markdown : here + link).then(
      () => done(button, "Copied"), () => done(button, "Your browser does not allow this"));
  });

  // keys
  const press = (match) => {
    const button = all("button").filter((b) => seen(b) && !b.disabled).find(match);
    if (button) button.click();
    return !!button;
  };
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
      if (press((b) => b.closest(".rm-go") || b.classList.contains("rm-go"))) {
        event.preventDefault();
        event.stopPropagation();
      }
    } else if (event.key === "Escape" && pinned && pinned.isConnected) {
      pin(null);
    } else if (event.key === "Escape" && all("[data-running]").some(seen)) {
      press((b) => b.closest(".rm-stop") || b.classList.contains("rm-stop"));
    } else if ((event.key === "Enter" || event.key === " ") && cite(event)) {
      event.preventDefault();
      pin(cite(event));
    }
  }, true);

  // another link opened in the same tab
  window.addEventListener("hashchange", () => { if (location.hash.startsWith("MARK")) location.reload(); });
}"""
).replace("MARK", MARK)
