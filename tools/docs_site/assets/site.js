// The theme makes wide tables scroll. So that the keyboard can scroll them, they take the focus.
addEventListener("load", () => {
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) {
    table.tabIndex = 0;
  }
});
