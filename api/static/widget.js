/* The library's chat in the corner of any page:
 *   <script src="https://desk.example.edu/widget.js" data-library="demo" defer></script>
 * Optional: data-lang="zh-Hans|zh-Hant|en|vi", data-open="true".
 *
 * It lives in a shadow tree and writes no inline style, so that the page's own rules and its
 * content security policy stay as they are. It asks the network for nothing before it is opened,
 * unless this browser has talked to the library before.
 */
(() => {
  "use strict";

  const script = document.currentScript;
  const library = script?.dataset.library;
  if (!library || customElements.get("refdesk-widget")) return;

  const TEXTS = "__TEXTS__";
  const base = new URL(`widget/${encodeURIComponent(library)}/`, script.src).href;
  const language = pickLanguage(
    script.dataset.lang || document.documentElement.lang,
    ...(navigator.languages || [navigator.language]),
  );
  const texts = TEXTS[language];

  function pickLanguage(...wanted) {
    for (const tag of wanted) {
      const lower = (tag || "").toLowerCase();
      if (lower.startsWith("zh")) return /hant|-tw|-hk|-mo/.test(lower) ? "zh-Hant" : "zh-Hans";
      if (lower.startsWith("vi")) return "vi";
      if (lower.startsWith("en")) return "en";
    }
    return "zh-Hans";
  }

  // --- what this browser remembers -------------------------------------------------------

  const storeKey = `refdesk:${library}`;
  const blank = { session: null, read: 0, queue: [], draft: "", open: false };
  let memory = { ...blank }; // where storage is forbidden, this page's life is all there is

  function stored() {
    try {
      memory = { ...blank, ...JSON.parse(localStorage.getItem(storeKey)) };
    } catch {
      /* storage is blocked or spoilt: go on with what we have */
    }
    return memory;
  }

  function store(changes) {
    memory = { ...stored(), ...changes };
    try {
      localStorage.setItem(storeKey, JSON.stringify(memory));
    } catch {
      /* as above */
    }
  }

  function newId() {
    if (crypto.randomUUID) return crypto.randomUUID();
    const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((b) =>
      b.toString(16).padStart(2, "0"),
    );
    return hex.join("").replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
  }

  // --- the server ------------------------------------------------------------------------

  class Refusal extends Error {
    constructor(status) {
      super(`the desk answered ${status}`);
      this.status = status;
    }
  }

  async function request(path, options) {
    const response = await fetch(base + path, {
      ...options,
      credentials: "omit",
      signal: AbortSignal.timeout?.(20000),
    });
    if (!response.ok) throw new Refusal(response.status);
    return response.json();
  }

  // text/plain and no own header: a cross-origin post without a preflight round trip
  const call = (path, body) => request(path, { method: "POST", body: JSON.stringify(body) });

  // the session travels in a header, so that it stands in no access log
  const look = (path) => request(path, { headers: { Authorization: `Bearer ${memory.session}` } });

  let starting = null;
  async function session() {
    if (stored().session) return memory.session;
    starting ??= call("sessions", { language })
      .then((answer) => {
        if (!stored().session) store({ session: answer.session });
        welcome(answer);
        return memory.session;
      })
      .finally(() => {
        starting = null;
      });
    return starting;
  }

  // --- the conversation ------------------------------------------------------------------

  const messages = new Map(); // position in the conversation -> message
  let waiting = false; // a librarian owes an answer
  let emailKnown = false;
  let stream = null;
  let streamToken = null;
  let historyLoaded = false;
  let element = null;

  const lastPosition = () => Math.max(0, ...messages.keys());

  function take(answer) {
    if ("waiting" in answer) waiting = answer.waiting;
    if ("email" in answer) emailKnown = answer.email;
    if (answer.stream) streamToken = answer.stream;
    if (answer.read > stored().read) store({ read: answer.read });
    const seen = new Set();
    for (const message of answer.messages || []) {
      messages.set(message.seq, message);
      if (message.id) seen.add(message.id);
    }
    if (seen.size) store({ queue: stored().queue.filter((item) => !seen.has(item.id)) });
    element?.draw();
    listen();
  }

  async function catchUp() {
    if (!stored().session) return;
    try {
      take(await look(`messages?after=${lastPosition()}`));
      historyLoaded = true;
    } catch (error) {
      if (error.status === 403) forget();
      else throw error;
    }
  }

  function forget() {
    messages.clear();
    stream?.close();
    stream = null;
    streamToken = null;
    store({ session: null, read: 0 });
    element?.draw();
  }

  // --- sending: everything goes through a queue that survives a reload --------------------

  let sending = false;
  let delay = 1000;
  let timer = 0;

  function say(text, payload) {
    const item = { id: newId(), text, ...(payload && { payload }) };
    store({ queue: [...stored().queue, item] });
    element.draw();
    element.scrollToEnd();
    flush();
  }

  async function flush() {
    if (sending) return;
    sending = true;
    clearTimeout(timer);
    try {
      let item;
      while ((item = stored().queue.find((one) => !one.failed))) await sendOne(item);
      delay = 1000;
    } catch (error) {
      if (!(error instanceof Refusal) && error.name === "TypeError" && !navigator.onLine) delay = 30000;
      timer = setTimeout(flush, delay);
      delay = Math.min(delay * 2, 30000);
    } finally {
      sending = false;
      element.draw();
    }
  }

  async function sendOne(item) {
    try {
      element.draw();
      take(await call("messages", { session: await session(), ...item }));
      drop(item);
    } catch (error) {
      if (error.status === 403) {
        forget();
        return;
      }
      // our own fault: trying again cannot help, but what was typed stays on the screen
      if ([400, 404, 413, 422].includes(error.status)) {
        const queue = stored().queue.map((one) => (one.id === item.id ? { ...one, failed: true } : one));
        store({ queue });
        return;
      }
      throw error;
    }
  }

  function drop(item) {
    store({ queue: stored().queue.filter((one) => one.id !== item.id) });
    channel?.postMessage("changed");
  }

  // --- listening: one tab holds the connection, the others hear from it -------------------

  const channel = "BroadcastChannel" in window ? new BroadcastChannel(storeKey) : null;
  channel?.addEventListener("message", ({ data }) => {
    if (data === "changed") {
      stored();
      catchUp().catch(() => {});
    } else if (data.answer) {
      take(data.answer);
    } else if (data.typing) {
      element.showTyping(data.typing);
    }
  });

  let listening = false;
  function listen() {
    const wanted = messages.size > 0 && (element?.isOpen || waiting);
    if (!wanted || listening || !streamToken) return;
    listening = true;
    if (navigator.locks) {
      navigator.locks.request(storeKey, () => new Promise(openStream));
    } else {
      openStream(() => {});
    }
  }

  function openStream(release) {
    let patience = 1000;
    const connect = () => {
      const query = new URLSearchParams({ token: streamToken, after: lastPosition() });
      stream = new EventSource(`${base}events?${query}`);
      stream.addEventListener("open", () => {
        patience = 1000;
      });
      stream.addEventListener("message", ({ data }) => {
        const answer = JSON.parse(data);
        take(answer);
        channel?.postMessage({ answer });
      });
      stream.addEventListener("typing", ({ data }) => {
        element.showTyping(data);
        channel?.postMessage({ typing: data });
      });
      stream.addEventListener("error", () => {
        if (stream.readyState !== EventSource.CLOSED) return; // it reconnects by itself
        if (!stored().session) {
          listening = false;
          release();
          return;
        }
        setTimeout(() => catchUp().catch(() => {}).then(connect), patience); // with a fresh token
        patience = Math.min(patience * 2, 60000);
      });
    };
    connect();
    const leave = () => {
      stream.close();
      listening = false;
      release();
    };
    addEventListener("pagehide", leave, { once: true });
  }

  // --- drawing ---------------------------------------------------------------------------

  const sheet = new CSSStyleSheet();
  sheet.replaceSync("__STYLE__");

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") node.addEventListener(name, value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child != null));
    return node;
  }

  function icon(path) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    const shape = document.createElementNS(svg.namespaceURI, "path");
    shape.setAttribute("d", path);
    svg.append(shape);
    return svg;
  }

  const CHAT = "M4 5h16v11H9l-5 4zM8 9h8M8 12.5h5";
  const CLOSE = "M6 6l12 12M18 6L6 18";
  const SEND = "M4 12l16-8-5 16-3.5-6.5z";

  /** Text with its web addresses as links; nothing else of it is ever markup. */
  function prose(text) {
    const parts = [];
    let from = 0;
    for (const match of text.matchAll(/https?:\/\/[^\s<>"'，。；：！？、（）《》「」“”]+/g)) {
      const address = match[0].replace(/[.,;:!?)\]}]+$/, "");
      parts.push(text.slice(from, match.index), webLink(address, address));
      from = match.index + address.length;
    }
    parts.push(text.slice(from));
    return parts.filter((part) => part !== "");
  }

  function webLink(address, label) {
    if (!/^https?:\/\//i.test(address)) return label;
    return make("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, label);
  }

  function clock(at) {
    const date = new Date(at);
    const today = date.toDateString() === new Date().toDateString();
    const style = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    if (!today) Object.assign(style, { month: "numeric", day: "numeric" });
    return make("time", { datetime: at }, new Intl.DateTimeFormat(language, style).format(date));
  }

  class Widget extends HTMLElement {
    isOpen = false;
    #root = this.attachShadow({ mode: "open" });
    #drawn = new Map(); // key -> list item
    #typingTimer = 0;

    connectedCallback() {
      element = this;
      this.#root.adoptedStyleSheets = [sheet];
      this.lang = language;
      this.badge = make("span", { class: "badge", hidden: true });
      this.launcher = make(
        "button",
        { class: "launcher", type: "button", "aria-expanded": "false", click: () => this.toggle() },
        icon(CHAT),
        make("span", { class: "label" }, texts.launcher),
        this.badge,
      );
      this.#root.append(this.launcher);
      if (stored().session) catchUp().catch(() => {});
      if (memory.queue.length) flush();
      if (memory.open || script.dataset.open === "true") this.open({ focus: false });
    }

    toggle() {
      if (this.isOpen) this.close();
      else this.open();
    }

    #build() {
      this.log = make("ol", { class: "log" });
      this.typing = make("p", { class: "typing", role: "status", hidden: true });
      this.quick = make("div", { class: "quick" });
      this.input = make("textarea", {
        rows: "1",
        maxlength: "2000",
        "aria-label": texts.placeholder,
        placeholder: texts.placeholder,
        keydown: (event) => this.#key(event),
        input: () => {
          store({ draft: this.input.value });
          this.#grow();
        },
      });
      this.input.value = stored().draft;
      this.heading = make("h2", { id: "title" }, texts.title);
      this.panel = make(
        "section",
        { class: "panel", role: "dialog", "aria-labelledby": "title", keydown: (event) => {
          if (event.key === "Escape") this.close();
        } },
        make(
          "div",
          { class: "head" },
          this.heading,
          make(
            "button",
            { type: "button", class: "icon", "aria-label": texts.close, click: () => this.close() },
            icon(CLOSE),
          ),
        ),
        (this.middle = make(
          "div",
          { class: "middle", tabindex: "0" },
          make(
            "div",
            { class: "intro" },
            make("p", {}, texts.greeting),
            make("p", { class: "fine" }, texts.privacy),
          ),
          make("div", { role: "log", "aria-label": texts.log }, this.log),
          this.typing,
          this.quick,
        )),
        make(
          "form",
          { submit: (event) => {
            event.preventDefault();
            this.#send();
          } },
          this.input,
          make("button", { class: "icon send", "aria-label": texts.send }, icon(SEND)),
        ),
        (this.offline = make("p", { class: "offline", role: "status", hidden: true }, texts.offline)),
      );
      this.#root.prepend(this.panel);
    }

    open({ focus = true } = {}) {
      if (!this.panel) this.#build();
      this.isOpen = true;
      this.panel.hidden = false;
      this.classList.add("open");
      this.#root.host.toggleAttribute("data-open", true);
      this.launcher.setAttribute("aria-expanded", "true");
      store({ open: true });
      this.draw();
      this.scrollToEnd();
      if (focus) this.input.focus();
      if (!memory.session) session().catch(() => {});
      else if (!historyLoaded) catchUp().catch(() => {});
      listen();
    }

    close() {
      this.isOpen = false;
      this.panel.hidden = true;
      this.toggleAttribute("data-open", false);
      this.launcher.setAttribute("aria-expanded", "false");
      store({ open: false });
      this.launcher.focus();
    }

    #key(event) {
      // while an input method is composing, Enter picks a word
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#send();
    }

    #send() {
      const text = this.input.value.trim();
      if (!text) return;
      this.input.value = "";
      store({ draft: "" });
      this.#grow();
      say(text);
    }

    #grow() {
      this.input.rows = Math.min(5, Math.max(1, this.input.value.split("\n").length));
    }

    draw() {
      this.#drawBadge();
      if (!this.panel) return;
      const atEnd = this.#isAtEnd();
      const list = [...messages.values()].sort((a, b) => a.seq - b.seq);
      const known = new Set(list.map((message) => message.id).filter(Boolean));
      const pending = stored().queue.filter((item) => !known.has(item.id));
      const wanted = new Map();
      for (const message of list) wanted.set(`m${message.seq}`, () => this.#bubble(message));
      for (const item of pending) {
        wanted.set(`q${item.id}${item.failed ? "!" : ""}`, () => this.#pendingBubble(item));
      }
      for (const [key, node] of this.#drawn) {
        if (!wanted.has(key)) {
          node.remove();
          this.#drawn.delete(key);
        }
      }
      let before = null;
      for (const [key, draw] of wanted) {
        let node = this.#drawn.get(key);
        if (!node) this.#drawn.set(key, (node = draw()));
        const place = before ? before.nextSibling : this.log.firstChild;
        if (place !== node) this.log.insertBefore(node, place);
        before = node;
      }
      this.#drawQuick(list, pending);
      this.typing.hidden = !(sending && pending.length) && !this.#typingTimer;
      if (!this.#typingTimer) this.typing.textContent = texts.typing;
      this.offline.hidden = !pending.some((item) => !item.failed) || sending;
      if (atEnd) this.scrollToEnd();
      this.#markRead();
    }

    #bubble(message) {
      const who = message.role === "librarian" ? message.by || texts.librarian : null;
      const body = make("div", { class: "bubble" });
      if (message.quote) body.append(make("blockquote", {}, message.quote));
      body.append(make("p", {}, ...prose(message.text || "")));
      if (message.link) body.append(make("p", {}, webLink(message.link, texts.more)));
      return make(
        "li",
        { class: `${message.role} ${message.kind || ""}`, "data-seq": message.seq },
        make("span", { class: "from" }, message.role === "patron" ? texts.you : who || texts.bot),
        body,
        clock(message.at),
      );
    }

    #pendingBubble(item) {
      const foot = item.failed
        ? make("span", { class: "failed" }, texts.failed, " ", make("button", {
            type: "button",
            click: () => {
              store({ queue: stored().queue.filter((one) => one.id !== item.id) });
              this.input.value = [item.text, this.input.value].filter(Boolean).join("\n");
              this.draw();
              this.input.focus();
            },
          }, texts.edit))
        : make("span", { class: "pending" }, texts.sending);
      return make(
        "li",
        { class: "patron pending" },
        make("span", { class: "from" }, texts.you),
        make("div", { class: "bubble" }, make("p", {}, ...prose(item.text))),
        foot,
      );
    }

    /** What can be tapped now: choices, "did that help?", or an address for the late answer. */
    #drawQuick(list, pending) {
      const last = pending.length ? null : list.at(-1);
      const key = `${last?.seq}|${last?.kind}|${emailKnown}|${waiting}|${list.length ? "" : suggestions.length}`;
      if (this.quick.dataset.key === key) return;
      this.quick.dataset.key = key;
      this.quick.replaceChildren();
      if (!list.length && !pending.length) {
        for (const text of suggestions) this.quick.append(this.#choice({ label: text }));
      } else if (last && last.role !== "patron") {
        const owner = list.findLast((message) => message.role !== "patron" && message.choices?.length);
        const since = owner && list.some((m) => m.role === "patron" && m.seq > owner.seq);
        if (owner && !since) {
          const rating = owner.choices.every(({ payload }) => payload.startsWith("/helped"));
          if (rating) this.quick.append(make("span", { class: "ask" }, texts.helped));
          this.quick.classList.toggle("rating", rating);
          for (const choice of owner.choices) this.quick.append(this.#choice(choice));
        }
        if (waiting && !emailKnown) this.quick.append(this.#emailForm());
      }
    }

    #choice({ label, payload }) {
      return make("button", { type: "button", click: () => {
        say(label, payload);
        this.input.focus();
      } }, label);
    }

    #emailForm() {
      const input = make("input", {
        type: "email", required: true, autocomplete: "email", maxlength: "254",
        "aria-label": texts.email, placeholder: "name@example.edu",
      });
      const status = make("span", { role: "status" });
      const keep = async (event) => {
        event.preventDefault();
        try {
          await call("email", { session: await session(), email: input.value.trim() });
        } catch {
          status.textContent = texts.emailFailed;
          return;
        }
        emailKnown = true;
        status.textContent = texts.emailSaved;
        form.replaceChildren(status);
        this.input.focus();
      };
      const label = make("label", {}, texts.email, input);
      const form = make("form", { class: "email", submit: keep }, label, make("button", {}, texts.save), status);
      return form;
    }

    showTyping(who) {
      if (!this.panel) return;
      clearTimeout(this.#typingTimer);
      this.typing.textContent = texts.librarianTyping.replace("{name}", who || texts.librarian);
      this.typing.hidden = false;
      this.#typingTimer = setTimeout(() => {
        this.#typingTimer = 0;
        this.draw();
      }, 6000);
      if (this.#isAtEnd()) this.scrollToEnd();
    }

    #drawBadge() {
      const read = stored().read;
      let unread = 0;
      for (const message of messages.values()) {
        if (message.role !== "patron" && message.seq > read) unread += 1;
      }
      if (this.isOpen) unread = 0;
      this.badge.hidden = unread === 0;
      this.badge.textContent = unread;
      const label = unread ? texts.unread.replace("{n}", unread) : texts.launcher;
      this.launcher.setAttribute("aria-label", label);
    }

    #markRead() {
      const newest = lastPosition();
      if (!this.isOpen || document.hidden || newest <= stored().read) return;
      store({ read: newest });
      this.#drawBadge();
      channel?.postMessage("changed");
      call("read", { session: memory.session, seq: newest }).catch(() => {});
    }

    #isAtEnd() {
      const { middle } = this;
      return !middle || middle.scrollHeight - middle.scrollTop - middle.clientHeight < 80;
    }

    scrollToEnd() {
      if (this.middle) this.middle.scrollTop = this.middle.scrollHeight;
    }
  }

  let suggestions = [];
  function welcome(answer) {
    suggestions = answer.suggestions || [];
    if (element?.heading && answer.name) element.heading.textContent = answer.name;
    element?.draw();
  }

  const resume = () => {
    delay = 1000;
    flush();
    catchUp().catch(() => {});
  };
  addEventListener("online", resume);
  addEventListener("pageshow", ({ persisted }) => persisted && resume());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && element) element.draw();
  });

  customElements.define("refdesk-widget", Widget);
  const mount = () => document.body.append(document.createElement("refdesk-widget"));
  if (document.body) mount();
  else addEventListener("DOMContentLoaded", mount);
})();
