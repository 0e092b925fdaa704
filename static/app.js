// Five small services beside htmx: it tells of requests that failed, says progress to screen readers
// without chattering and in the title of the tab, polls by itself where htmx could not be loaded, and
// copies a token.
"use strict";

(() => {
  const UNREACHABLE = "Patient Sync cannot be reached just now. This page goes on by itself.";
  const POLL_MS = 2000;
  const REFUSAL_MS = 10000;

  const toast = document.getElementById("toast");
  const announcer = document.getElementById("announcer");
  let hiding;

  // Trouble stays until something works again; the refusal of one press passes by itself.
  const tell = (text, { passing = false } = {}) => {
    clearTimeout(hiding);
    toast.textContent = text;
    toast.hidden = false;
    toast.dataset.passing = passing;
    if (passing) hiding = setTimeout(() => { toast.hidden = true; }, REFUSAL_MS);
  };

  // The tab tells how far the sync is that the page shows.
  const running = () => document.querySelector("[data-percent]");
  const words = running() ? document.title.replace(/^\d+% /, "") : document.title;
  const retitle = () => {
    document.title = running() ? `${running().dataset.percent}% ${words}` : words;
  };

  const worked = () => {
    if (toast.dataset.passing !== "true") toast.hidden = true;
    retitle();
    const card = document.querySelector("[data-announce]");
    const said = card ? card.dataset.announce : "";
    if (announcer.textContent !== said) announcer.textContent = said;
  };

  // Without this script, or over plain HTTP, the text is selected by hand.
  for (const button of document.querySelectorAll("[data-copy]")) {
    const field = document.getElementById(button.dataset.copy);
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      field.select();
      await navigator.clipboard.writeText(field.value);
      button.textContent = "Copied";
    });
  }

  const parsed = (html) => new DOMParser().parseFromString(html, "text/html");

  // Our own error answers hold a notice; those of a proxy in between do not.
  const refused = (status, html) => {
    const notice = parsed(html).querySelector(".notice");
    if (status >= 500 || !notice) tell(UNREACHABLE);
    else tell(notice.textContent, { passing: true });
  };

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    if (ctx.response.status < 400) worked();
  });
  document.addEventListener("htmx:response:error", ({ detail: { ctx } }) => {
    if (ctx.response.status !== 401) refused(ctx.response.status, ctx.text);
  });
  document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
    if (ctx) tell(UNREACHABLE);
  });

  // The CDN is blocked or down: whatever would poll is asked for and put in its place.
  const pollOne = async (element) => {
    const answer = await fetch(element.getAttribute("hx-get"), {
      headers: { "HX-Request": "true" },
      mode: "same-origin",
    });
    const elsewhere = answer.headers.get("HX-Redirect");
    if (elsewhere) return location.assign(elsewhere);
    if (answer.headers.has("HX-Trigger")) return location.reload();
    const html = await answer.text();
    if (!answer.ok) return refused(answer.status, html);
    const fresh = parsed(html).getElementById(element.id);
    if (fresh) element.replaceWith(fresh);
    return worked();
  };

  const poll = async () => {
    if (!window.htmx) {
      for (const element of document.querySelectorAll("[hx-get][hx-trigger^=every]")) {
        await pollOne(element).catch(() => tell(UNREACHABLE));
      }
    }
    setTimeout(poll, POLL_MS);
  };
  setTimeout(poll, POLL_MS);
})();
