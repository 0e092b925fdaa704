// Ten small services beside htmx: it tells of requests that failed, says progress to screen readers and
// in the title of the tab, keeps the focus on the page and what a list was asked for in its address,
// polls where htmx could not be loaded, sends no form twice, copies a token, keeps "8 min ago" true, and
// asks whether anybody is still there before the session ends, or somebody else has signed in.
"use strict";

(() => {
  const UNREACHABLE = "Patient Sync cannot be reached just now. This page goes on by itself.";
  const NOT_HEARD =
    "That did not work, or the answer did not come back. Look how it stands, then try again.";
  const ENDED = "Your session has ended";
  const OVER = [403, 404, 410]; // no further question about it will be answered
  const SECOND_MS = 1000;
  const SENT_MS = 30000;
  const SAVED_MS = 5000; // the page stays when a file is saved
  const REFUSAL_MS = 10000;
  const AGAIN_MS = 5000;
  const SAID_MS = 100;
  const REWORD_MS = 15000;
  const WARN_SECONDS = 120;
  const LOOK_SECONDS = 15; // once the question stands
  const ANSWER_MS = 10000; // a server that hangs is one that is away
  const LAST_MS = 2000; // so long is waited for when the session must have ended

  const toast = document.getElementById("toast");
  const announcer = document.getElementById("announcer");
  let hiding;

  // A page that loads itself anew says so in its address, as without JavaScript: it is no sign of
  // life. Once it is there it has its own address again, for what a person does with it is one.
  const WATCHING = "watching";
  const loadAnew = () => {
    const anew = new URL(location.href);
    anew.searchParams.set(WATCHING, "1");
    location.replace(anew);
  };
  const own = new URL(location.href);
  if (own.searchParams.has(WATCHING)) {
    own.searchParams.delete(WATCHING);
    history.replaceState(history.state, "", own);
  }

  // The tab tells how far the sync is that the page shows.
  const running = () => document.querySelector("[data-percent]");
  let words = running() ? document.title.replace(/^\d+% /, "") : document.title;
  const retitle = () => {
    document.title = running() ? `${running().dataset.percent}% ${words}` : words;
  };

  // Emptied first, or the same words would not be said a second time.
  const say = (words) => {
    announcer.textContent = "";
    setTimeout(() => { announcer.textContent = words; }, SAID_MS);
  };

  // Trouble stays until something works again; the refusal of one press passes by itself, and until
  // then nothing that was not pressed takes its place. What stands there already is not said again.
  const tell = (text, { passing = false, pressed = false } = {}) => {
    if (!toast.hidden && toast.dataset.pressed === "true" && !pressed) return;
    const stands = !toast.hidden && toast.textContent === text && !pressed;
    clearTimeout(hiding);
    if (passing) hiding = setTimeout(() => { toast.hidden = true; }, REFUSAL_MS);
    Object.assign(toast.dataset, { passing, pressed });
    if (stands) return;
    toast.textContent = text;
    toast.hidden = false;
    say(text);
  };

  const announced = () => document.querySelector("[data-announce]")?.dataset.announce;
  // What stands there at first is no news, unless the page was loaded anew to show it.
  const before = sessionStorage.getItem("told");
  sessionStorage.removeItem("told");
  let told = before ?? announced();

  // A notice wins, then what a press is answered with each time, then what has changed.
  const worked = (part) => {
    if (toast.dataset.passing !== "true") toast.hidden = true;
    retitle();
    const changed = announced() === told ? "" : announced();
    told = announced();
    const notice = part?.querySelector(".notice[role=status]");
    const news = notice?.textContent ?? part?.dataset.answer ?? changed;
    if (news) say(news);
  };

  // Without this script, or over plain HTTP, the text is selected by hand.
  for (const button of document.querySelectorAll("[data-copy]")) {
    const field = document.getElementById(button.dataset.copy);
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      field.select();
      try {
        await navigator.clipboard.writeText(field.value);
        button.textContent = "Copied";
      } catch { // the browser does not let us; the text is selected
        button.textContent = "Copy it by hand";
      }
      say(button.textContent);
    });
  }

  // What a plain form is answered with stands above its page.
  const flashed = document.querySelector("#main > .notice[role=status]");
  if (before !== null) worked();
  else if (flashed) say(flashed.textContent);

  const parsed = (html) => new DOMParser().parseFromString(html, "text/html");
  const noticeOf = (html) => parsed(html).querySelector(".notice")?.textContent;

  // htmx gives the focus to what has the same id. What else had it leaves it to the page, or the next
  // Tab would begin above everything.
  const refocus = (held) => {
    for (const next of [document.getElementById(held.id), document.getElementById("main")]) {
      if (!held.isConnected && document.activeElement === document.body) {
        next?.focus({ preventScroll: true });
      }
    }
  };

  // Our own error answers hold a notice; those of a proxy in between do not. What polls goes on by
  // itself, unless it asks for what is gone or closed: then the page itself tells what has become of
  // it. What somebody pressed does not go on.
  const refused = (status, html, { pressed = false } = {}) => {
    const notice = noticeOf(html);
    if (pressed) return tell(notice ?? NOT_HEARD, { passing: true, pressed: true });
    if (notice && OVER.includes(status)) return loadAnew();
    if (status >= 500 || !notice) return tell(UNREACHABLE);
    return tell(notice, { passing: true });
  };
  const pressed = (ctx) => ctx.request.method.toUpperCase() !== "GET";

  // Once its sync has ended a page draws itself a last time; if that fails, nothing polls any more.
  let again;
  const goOn = (ctx) => {
    if (ctx.sourceElement.id !== "main") return;
    clearTimeout(again);
    again = setTimeout(() => document.body.dispatchEvent(new Event("sync-finished")), AGAIN_MS);
  };

  document.addEventListener("htmx:before:swap", ({ detail: { ctx } }) => {
    ctx.held = document.activeElement;
  });
  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    refocus(ctx.held);
    if (ctx.response.status >= 400) return;
    // Not by htmx, which would then fetch pages by itself for the Back button.
    const address = ctx.response.headers.get("HX-Replace-Url");
    if (address) history.replaceState(history.state, "", address);
    worked(document.getElementById(ctx.target?.id));
  });
  document.addEventListener("htmx:response:error", ({ detail: { ctx } }) => {
    if (!ctx.response.headers.has("HX-Redirect")) {
      refused(ctx.response.status, ctx.text, { pressed: pressed(ctx) });
      goOn(ctx);
    }
  });
  document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
    if (!ctx) return;
    refused(0, "", { pressed: pressed(ctx) }); // there was no answer at all
    goOn(ctx);
  });

  // A second click while the answer is on its way would do it twice: another token, another secret.
  let sent = new WeakMap();
  addEventListener("pageshow", () => { sent = new WeakMap(); });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    const most = "saves" in form.dataset ? SAVED_MS : SENT_MS;
    if (Date.now() - (sent.get(form) ?? -Infinity) < most) return event.preventDefault();
    return sent.set(form, Date.now());
  });

  // The CDN is blocked or down: whatever would poll is asked for and put in its place.
  const pollOne = async (element) => {
    const answer = await fetch(element.getAttribute("hx-get"), {
      headers: { "HX-Request": "true" },
      mode: "same-origin",
      signal: AbortSignal.timeout?.(ANSWER_MS), // not in Safari 15
    });
    const elsewhere = answer.headers.get("HX-Redirect");
    if (elsewhere) return location.assign(elsewhere);
    if (answer.headers.has("HX-Trigger")) {
      sessionStorage.setItem("told", told ?? "");
      return loadAnew();
    }
    const html = await answer.text();
    if (!answer.ok) return refused(answer.status, html);
    const page = parsed(html);
    const fresh = page.getElementById(element.id);
    const held = document.activeElement;
    const beside = (element.getAttribute("hx-select-oob") ?? "").matchAll(/#([\w-]+)/g);
    for (const id of [element.id, ...[...beside].map((found) => found[1])]) {
      const part = page.getElementById(id);
      if (part) document.getElementById(id)?.replaceWith(part);
    }
    refocus(held);
    return worked(fresh);
  };

  let seconds = 0;
  const poll = async () => {
    seconds += 1;
    const all = document.querySelectorAll("[hx-get][hx-trigger^=every]");
    const due = (element) => seconds % parseInt(element.getAttribute("hx-trigger").slice(6), 10) === 0;
    for (const element of window.htmx ? [] : [...all].filter(due)) {
      await pollOne(element).catch(() => tell(UNREACHABLE));
    }
    setTimeout(poll, SECOND_MS);
  };
  setTimeout(poll, SECOND_MS);

  // The words of `durations.ago_words`, by the server's clock, for the browser's may be wrong. What
  // stands in a notice was said when it came; it would be said again.
  const ahead = Date.now() - Number(document.body.dataset.now) * SECOND_MS;
  const AGO = "time[data-ago]:not([role=status] time)";

  const ago = (seconds) => {
    if (seconds < 60) return "just now";
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} days ago`;
  };
  const reword = () => {
    for (const time of document.querySelectorAll(AGO)) {
      const words = ago((Date.now() - ahead - Date.parse(time.dateTime)) / SECOND_MS);
      if (time.textContent !== words) time.textContent = words;
    }
  };
  setInterval(reword, REWORD_MS);
  document.addEventListener("visibilitychange", reword); // a hidden page may have stood still

  // The server is asked how long the session lasts, for another tab may be in use; to ask is no sign
  // of life. When it has ended the page leaves, whatever it shows.
  const idle = document.getElementById("idle");
  const problem = idle?.querySelector("[data-problem]");
  let looking;
  let endsAt; // by the last answer
  let warned;

  // Not beyond the end of the session, for what is shown goes when there is no answer.
  const patience = () => {
    const left = Math.max(endsAt - Date.now(), LAST_MS) + SECOND_MS;
    return emptied() ? ANSWER_MS : Math.min(left, ANSWER_MS);
  };

  const look = async (options) => {
    const answer = await fetch(idle.dataset.look, {
      headers: { "HX-Request": "true" },
      mode: "same-origin",
      signal: AbortSignal.timeout?.(patience()),
      ...options,
    });
    const elsewhere = answer.headers.get("HX-Redirect");
    if (elsewhere) return location.assign(elsewhere);
    if (!answer.ok) throw new Error(answer.status, { cause: noticeOf(await answer.text()) });
    const { seconds, most, whose, csrf } = await answer.json();
    if (emptied()) return loadAnew(); // another tab has signed in
    if (whose !== idle.dataset.whose) return makeRoom();
    // Another tab that signed out everywhere else has got other tokens.
    for (const input of document.querySelectorAll("input[name=csrf_token]")) input.value = csrf;
    endsAt = Date.now() + seconds * SECOND_MS;
    const left = seconds > 90 ? "In two minutes" : seconds > 30 ? "In a minute" : "In a moment";
    if (seconds > WARN_SECONDS) {
      idle.close();
    } else if (seconds === most) {
      idle.close(); // nobody can stay
      const words = `${left} you have to sign in again, as after every twelve hours.`;
      if (words !== warned) tell(words, { passing: true });
      warned = words;
    } else {
      idle.querySelector("[data-left]").textContent = left;
      if (!idle.open) {
        problem.hidden = true;
        idle.showModal();
      }
    }
    return lookAfter(seconds);
  };

  // While the server cannot be asked nothing is left to be read once the session must have ended.
  const emptied = () => document.querySelector("#main > [data-ended]");
  const empty = () => {
    const title = document.createElement("h1");
    title.textContent = ENDED;
    const text = document.createElement("p");
    text.className = "notice bad";
    text.dataset.ended = "";
    text.textContent = UNREACHABLE;
    const main = document.getElementById("main");
    main.replaceChildren(title, text);
    idle.close();
    main.focus();
    words = document.title = "Patient Sync"; // it may have named somebody
    say(`${ENDED}. ${UNREACHABLE}`);
  };

  // Another tab has signed in somebody else, to whom nothing of this page belongs.
  const makeRoom = () => {
    document.body.hidden = true;
    document.title = "Patient Sync";
    loadAnew();
  };

  const unanswered = () => {
    if (Date.now() > endsAt && !emptied()) empty();
    const left = (endsAt - Date.now()) / SECOND_MS;
    lookAfter(emptied() ? LOOK_SECONDS : Math.min(left, LOOK_SECONDS));
  };

  const lookNow = () => look().catch(unanswered);

  const lookAfter = (seconds) => {
    clearTimeout(looking);
    const wait = seconds > WARN_SECONDS ? seconds - WARN_SECONDS : Math.min(seconds + 1, LOOK_SECONDS);
    looking = setTimeout(lookNow, wait * SECOND_MS);
  };

  if (idle) {
    endsAt = Date.now() + Number(idle.dataset.seconds) * SECOND_MS;
    lookAfter(Number(idle.dataset.seconds));
    idle.addEventListener("submit", (event) => {
      event.preventDefault();
      look({ method: "POST", body: new FormData(event.target) }).catch(({ cause = NOT_HEARD }) => {
        problem.textContent = cause; // in the question, which stands before everything else
        problem.hidden = false;
      });
    });
    idle.addEventListener("cancel", (event) => { // Escape is a sign of life too
      event.preventDefault();
      idle.querySelector("form").requestSubmit();
    });
    // A computer that slept through the end of the session.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) lookNow();
    });
    // A window beside another one, which may have signed out everywhere else.
    addEventListener("focus", lookNow);
  }

  // A page that is shown to somebody else, or to nobody, has the other open ones look at once: they
  // may be in sight all the time.
  const whose = idle?.dataset.whose;
  const others = new BroadcastChannel("whose");
  others.addEventListener("message", ({ data }) => {
    if (idle && data !== whose) lookNow();
  });
  others.postMessage(whose);
})();
