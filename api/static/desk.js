/* The desk's own behaviour: keys, drafts that survive a reload, inserting an entry, presence,
 * and telling a librarian who looks elsewhere. The pages work without it. */
(() => {
  "use strict";

  const find = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const live = find("#live");
  const said = find("#said");
  const replyBox = () => find("#reply-text");

  // --- drafts: nothing typed is ever lost ------------------------------------------------

  const draftKey = (id) => `refdesk:draft:${id}`;

  function restoreDraft() {
    const form = find("[data-draft]");
    if (!form) return;
    const box = replyBox();
    const kept = localStorage.getItem(draftKey(form.dataset.draft));
    if (kept && !box.value) box.value = kept;
  }

  function keepDraft(form, text) {
    const key = draftKey(form.dataset.draft);
    if (text) localStorage.setItem(key, text);
    else localStorage.removeItem(key);
  }

  document.addEventListener("input", (event) => {
    const form = event.target.closest("[data-draft]");
    if (!form || event.target !== replyBox()) return;
    keepDraft(form, event.target.value);
    const state = find(".draft-state", form);
    if (!state.textContent) state.textContent = state.dataset.kept;
    announcePresence(form.dataset.draft);
  });

  // a sent reply leaves its draft behind; a refused one keeps it
  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    const form = ctx.sourceElement?.closest?.("[data-draft]");
    if (form && ctx.request.method?.toUpperCase() === "POST" && ctx.response?.status < 400) {
      keepDraft(form, "");
    }
  });

  // --- presence: "X is answering" --------------------------------------------------------

  let announcedAt = 0;
  function announcePresence(id) {
    if (Date.now() - announcedAt < 4000) return;
    announcedAt = Date.now();
    const form = find("[data-draft]");
    const body = new URLSearchParams({ csrf: find("[name=csrf]", form).value });
    fetch(`/desk/c/${id}/presence`, { method: "POST", body, keepalive: true }).catch(() => {});
  }

  const present = new Map();
  function showPresence({ consultation, name, by }) {
    if (by === live?.dataset.staff) return;
    const line = find(`[data-presence="${consultation}"]`);
    if (!line) return;
    line.textContent = line.dataset.text.replace("{name}", name);
    clearTimeout(present.get(consultation));
    present.set(consultation, setTimeout(() => (line.textContent = ""), 9000));
  }

  // --- live: the stream's events come as events of #live ----------------------------------

  const data = (event) => JSON.parse(event.detail?.data || "{}");
  document.addEventListener("presence", (event) => showPresence(data(event)));
  document.addEventListener("waiting", (event) => {
    const { id } = data(event);
    refreshTitle();
    if (localStorage.getItem("refdesk:alerts") === "on") alertOf(id);
  });
  // what happened before the stream was open, or while it was lost, must show
  document.addEventListener("opened", refresh);

  function refresh() {
    htmx.trigger(document.body, "queue");
    const open = find("[data-case]");
    if (open) htmx.trigger(document.body, `c${open.dataset.case}`);
  }

  // times left grow old; a page that nobody looks at keeps quiet
  setInterval(() => {
    if (!document.hidden) htmx.trigger(document.body, "queue");
  }, 60000);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh();
  });

  function refreshTitle() {
    const count = find('.views a[href$="view=unassigned"] .number')?.textContent;
    const bare = document.title.replace(/^\(\d+\) /, "");
    document.title = Number(count) ? `(${count}) ${bare}` : bare;
  }

  // --- sound and notification, by choice ---------------------------------------------------

  function alertOf(id) {
    beep();
    if (document.hidden && window.Notification?.permission === "granted") {
      const note = new Notification(live.dataset.new, { tag: `case-${id}` });
      note.addEventListener("click", () => {
        window.focus();
        location.href = `/desk/c/${id}`;
      });
    }
  }

  let audio = null;
  function beep() {
    audio ??= new AudioContext();
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    volume.gain.setValueAtTime(0.12, audio.currentTime);
    volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.5);
    tone.frequency.value = 660;
    tone.connect(volume).connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + 0.5);
  }

  const alerts = find("[data-toggle=sound]");
  function showAlerts() {
    const on = localStorage.getItem("refdesk:alerts") === "on";
    alerts?.setAttribute("aria-pressed", String(on));
  }
  alerts?.addEventListener("click", () => {
    const on = localStorage.getItem("refdesk:alerts") !== "on";
    localStorage.setItem("refdesk:alerts", on ? "on" : "off");
    if (on) {
      beep();
      window.Notification?.requestPermission?.();
    }
    showAlerts();
  });
  showAlerts();

  // --- inserting an entry or a canned reply ------------------------------------------------

  function insert(text) {
    const box = replyBox();
    if (!box) return;
    const before = box.value.slice(0, box.selectionStart);
    const after = box.value.slice(box.selectionEnd);
    const gap = before && !/\s$/.test(before) ? "\n" : "";
    box.setRangeText(gap + text, box.selectionStart, box.selectionEnd, "end");
    if (!after && box.value.length > 4000) box.value = box.value.slice(0, 4000);
    box.dispatchEvent(new Event("input", { bubbles: true }));
    box.focus();
  }

  document.addEventListener("click", (event) => {
    const source = event.target.closest("[data-text]");
    if (source?.matches("button")) insert(source.dataset.text);
    const opener = event.target.closest("[data-open]");
    if (opener) find(`#${opener.dataset.open}`).showModal();
    for (const menu of all("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  // --- keys ----------------------------------------------------------------------------------

  const rows = () => all("#queue .row-link");

  function step(by) {
    const list = rows();
    const at = list.indexOf(document.activeElement.closest?.(".row-link"));
    const current = at >= 0 ? at : list.findIndex((row) => row.matches(".current"));
    const next = list[Math.min(list.length - 1, Math.max(0, current + by))];
    next?.focus();
  }

  const singleKeys = find("[data-keys]"); // some people's dictation types letters by itself
  singleKeys.checked = localStorage.getItem("refdesk:keys") !== "off";
  singleKeys.addEventListener("change", () => {
    localStorage.setItem("refdesk:keys", singleKeys.checked ? "on" : "off");
  });

  const commands = {
    j: () => step(1),
    k: () => step(-1),
    c: () => find("[data-key=c]")?.click(),
    r: () => replyBox()?.focus(),
    "/": () => find(".search input")?.focus(),
    "?": () => find("#keys").showModal(),
    1: () => find("[data-insert='1']")?.click(),
    2: () => find("[data-insert='2']")?.click(),
    3: () => find("[data-insert='3']")?.click(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key === "Escape" && typing) {
      typing.blur();
      find("#pane")?.focus();
      return;
    }
    if (typing) {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && typing === replyBox()) {
        event.preventDefault();
        find(".reply [value=answer]").click();
      }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || find("dialog[open]")) return;
    if (!singleKeys.checked && event.key !== "?") return;
    const command = commands[event.key];
    if (!command) return;
    event.preventDefault();
    command();
  });

  // --- after a piece of the page was replaced ------------------------------------------------

  function toEnd() {
    const thread = find("#thread");
    if (thread) thread.scrollTop = thread.scrollHeight;
  }

  document.addEventListener("htmx:after:swap", (event) => {
    const target = event.detail.ctx?.target;
    refreshTitle();
    if (target?.id === "thread") toEnd();
    if (target?.id !== "pane") return;
    const open = find("[data-case]");
    find("#main").classList.toggle("has-case", Boolean(open));
    for (const row of rows()) {
      const current = open && row.dataset.row === open.dataset.case;
      row.classList.toggle("current", Boolean(current));
      if (current) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    restoreDraft();
    toEnd();
    said.textContent = find("#case-title")?.textContent || "";
    find("#pane").scrollTo(0, 0);
    // on a telephone the whole page scrolls: the list's place says nothing about the case
    if (event.detail.ctx.sourceElement?.matches(".row-link")) window.scrollTo(0, 0);
  });

  restoreDraft();
  toEnd();
})();
