// Search runs in a worker. Browsers refuse workers to pages that are opened from disk, so there a
// hidden frame does the work, with as much of the interface of `Worker` as the search uses.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.document.open();
      inside.document.write("<!doctype html><title>search</title><body>");
      inside.document.close();
      inside.postMessage = (value) => {
        const data = structuredClone(value); // as a worker's messages, which share nothing
        setTimeout(() => this.emit(new MessageEvent("message", { data })));
      };
      this.ready = new Promise((resolve) => {
        const script = inside.document.createElement("script");
        script.src = new URL(url, document.baseURI);
        script.onload = resolve;
        script.onerror = () => this.emit(new ErrorEvent("error", { message: `cannot load ${url}` }));
        inside.document.body.append(script);
      });
    }

    emit(event) {
      this.dispatchEvent(event);
      this[`on${event.type}`]?.(event);
    }

    postMessage(value) {
      const data = structuredClone(value);
      this.ready.then(() => {
        const inside = this.frame.contentWindow;
        inside?.dispatchEvent(new inside.MessageEvent("message", { data }));
      });
    }

    terminate() {
      this.frame.remove();
    }
  };
}
