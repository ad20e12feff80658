// Tandem: a banner in a page, by one tag:
//   <script src="https://HOST/tandem.js" data-merchant="M" data-slots="4" async></script>
// data-item: the item this page shows (a view; remembered in this browser as history). data-user: your own user id.
// data-country, data-publisher, data-device. data-banner="no": report the view only.
(function () {
  "use strict";
  var tag = document.currentScript, data = tag.dataset, base = tag.src.replace(/\/tandem\.js.*$/, "");
  var store = {
    get: function (name) { try { return localStorage.getItem(name) || ""; } catch (e) { return ""; } },
    set: function (name, value) { try { localStorage.setItem(name, value); } catch (e) { /* private mode */ } }
  };
  var user = data.user || store.get("tandem_user");
  if (!user) {
    user = "w-" + Array.from(crypto.getRandomValues(new Uint8Array(12)), function (b) {
      return b.toString(16).padStart(2, "0");
    }).join("");
    store.set("tandem_user", user);
  }
  var name = "tandem_history:" + data.merchant, seen = store.get(name).split(",").filter(Boolean);
  function query(values) {
    return Object.keys(values).filter(function (key) { return values[key]; }).map(function (key) {
      return key + "=" + encodeURIComponent(values[key]);
    }).join("&");
  }

  var arrived = new URLSearchParams(location.search).get("tandem");
  if (arrived) {
    new Image().src = base + "/landing.gif?t=" + encodeURIComponent(arrived);
    var clean = new URL(location.href);
    clean.searchParams.delete("tandem");
    history.replaceState(history.state, "", clean);
  }
  if (data.item) {
    seen = seen.filter(function (one) { return one !== data.item; }).concat(data.item).slice(-50);
    store.set(name, seen.join(","));
    var view = query({merchant: data.merchant, user: user, item: data.item, country: data.country});
    fetch(base + "/view?" + view, {method: "POST", keepalive: true}).catch(function () {});
  }
  if (data.banner === "no") return;
  var box = document.createElement("div");
  tag.after(box);
  fetch(base + "/v1/banner.html?" + query({
    merchant: data.merchant, user: user, slots: data.slots, country: data.country, publisher: data.publisher,
    device: data.device, history: seen.join(","), exclude: data.item
  })).then(function (answer) {
    if (!answer.ok) return answer.json().then(function (said) { throw new Error(said.error.message); });
    return answer.text();
  }).then(function (html) {
    box.attachShadow({mode: "open"}).innerHTML = html;
    box.dispatchEvent(new CustomEvent("tandem:banner", {bubbles: true}));
  }).catch(function (error) { console.warn("tandem: no banner: " + error.message); });
})();
