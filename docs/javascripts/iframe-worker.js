/* The search runs in a Worker, which browsers deny to pages that are opened as files. There a hidden
   frame takes its place: it loads the same script, and the two talk through a channel. */
if (location.protocol === "file:") {
  const inFrame = () => {
    const load = (url) =>
      new Promise((resolve) => {
        const script = document.createElement("script");
        script.src = url;
        script.onload = resolve;
        document.head.append(script);
      });
    window.importScripts = (...urls) =>
      urls.reduce((before, url) => before.then(() => load(url)), Promise.resolve());
    const start = ({ data: url, ports: [port] }) => {
      port.onmessage = ({ data }) => dispatchEvent(new MessageEvent("message", { data }));
      window.postMessage = (data) => port.postMessage(data);
      load(url);
    };
    addEventListener("message", start, { once: true });
  };

  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const { port1, port2 } = new MessageChannel();
      this.port = port1;
      port1.onmessage = ({ data }) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        this.onmessage?.(event);
      };
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.srcdoc = `<script>(${inFrame})()</script>`;
      this.frame.onload = () =>
        this.frame.contentWindow.postMessage(new URL(url, document.baseURI).href, "*", [port2]);
      document.body.append(this.frame);
    }

    postMessage(data) {
      this.port.postMessage(data);
    }

    terminate() {
      this.port.close();
      this.frame.remove();
    }
  };
}
