// Comfort only: every form of these pages works without it.
document.querySelectorAll("form[data-live]").forEach(function (form) {
  form.addEventListener("input", function (event) {
    var shown = form.querySelector('[data-of="' + event.target.id + '"]');
    if (shown) shown.textContent = event.target.value + (shown.dataset.unit || "");
  });
  form.addEventListener("change", function () { form.requestSubmit(); });
});
document.querySelectorAll("button[data-print]").forEach(function (button) {
  button.hidden = false;
  button.addEventListener("click", function () { window.print(); });
});
