/* Lists and tables with sorting, filters and pages. Without this script, a page shows all of them.

   data-list="ID" data-page-size="N"   a table body or another element, whose children are the items
   data-for="ID"                       an input of type search; a checkbox with data-flag="NAME", for
                                       items with data-NAME; a select with data-key="NAME", for items
                                       with that value of data-NAME; a select with data-sort, whose
                                       values are "NAME" or "-NAME"; an output for the number of items
   th data-sort="text|number"          a column that can be sorted, by data-value or by its text */
'use strict';
(() => {
  const words = text => text.toLowerCase().split(/\s+/).filter(Boolean);

  const compare = (a, b, isNumber, sign) => {
    const empty = (a === '') - (b === '');  // what is empty comes last in both directions
    if (empty || a === '') return empty;
    return sign * (isNumber ? Number(a) - Number(b) : a.localeCompare(b, 'en', { numeric: true }));
  };

  class List {
    constructor(root) {
      this.root = root;
      this.items = [...root.children].map(item => ({ item, text: null }));
      this.size = Number(root.dataset.pageSize) || Infinity;
      this.page = 0;
      this.controls = [...document.querySelectorAll(`[data-for="${CSS.escape(root.dataset.list)}"]`)];
      for (const control of this.controls) {
        control.addEventListener('input', () => { this.page = 0; this.update(control); });
      }
      this.table = root.closest('table');
      if (this.table) this.makeHeadings();
      if (this.items.length > this.size) this.makePager();
      this.update();
    }

    makeHeadings() {
      [...this.table.tHead.rows[0].cells].forEach((head, column) => {
        if (!head.dataset.sort) return;
        const button = document.createElement('button');
        button.type = 'button';
        button.append(...head.childNodes);
        head.append(button);
        button.addEventListener('click', () => this.sortColumn(head, column));
      });
    }

    makePager() {
      const title = this.root.dataset.title || 'list';
      this.pager = document.createElement('nav');
      this.pager.className = 'pager';
      this.pager.setAttribute('aria-label', `Pages: ${title}`);
      this.turns = [['Previous', -1], ['Next', 1]].map(([label, step]) => {
        const button = document.createElement('button');
        button.type = 'button';
        button.textContent = label;
        button.addEventListener('click', () => { this.page += step; this.update(); });
        return button;
      });
      this.place = document.createElement('output');
      this.pager.append(this.turns[0], this.place, this.turns[1]);
      (this.table?.closest('.table') ?? this.root).after(this.pager);
    }

    sortColumn(head, column) {
      const isNumber = head.dataset.sort === 'number';
      const descending = head.ariaSort === 'ascending' || (head.ariaSort !== 'descending' && isNumber);
      const key = ({ item }) => item.cells[column].dataset.value ?? item.cells[column].textContent.trim();
      this.sort(key, isNumber, descending);
      for (const other of head.parentElement.cells) other.removeAttribute('aria-sort');
      head.ariaSort = descending ? 'descending' : 'ascending';
    }

    sort(key, isNumber, descending) {
      const keyed = this.items.map(entry => ({ entry, key: key(entry) }));
      keyed.sort((a, b) => compare(a.key, b.key, isNumber, descending ? -1 : 1));
      this.items = keyed.map(({ entry }) => entry);
      this.root.append(...this.items.map(({ item }) => item));
      this.page = 0;
      this.update();
    }

    matches(entry) {
      return this.controls.every(control => {
        if (control.type === 'search') {
          entry.text ??= entry.item.textContent.toLowerCase();
          return words(control.value).every(word => entry.text.includes(word));
        }
        if (control.type === 'checkbox') return !control.checked || control.dataset.flag in entry.item.dataset;
        if (control.dataset.key && control.value) return entry.item.dataset[control.dataset.key] === control.value;
        return true;
      });
    }

    update(control) {
      if (control && 'sort' in control.dataset) {
        const name = control.value.replace(/^-/, '');
        this.sort(({ item }) => item.dataset[name] ?? '', true, control.value.startsWith('-'));
        return;
      }
      const matching = this.items.filter(entry => this.matches(entry));
      const pages = Math.max(Math.ceil(matching.length / this.size), 1);
      this.page = Math.min(Math.max(this.page, 0), pages - 1);
      const start = this.size === Infinity ? 0 : this.page * this.size;
      const shown = new Set(matching.slice(start, start + this.size));
      for (const entry of this.items) entry.item.hidden = !shown.has(entry);
      for (const output of this.controls) {
        if (output.tagName === 'OUTPUT') output.textContent = matching.length.toLocaleString('en');
      }
      if (this.pager) {
        this.pager.hidden = pages === 1;
        this.turns[0].disabled = this.page === 0;
        this.turns[1].disabled = this.page === pages - 1;
        const end = start + shown.size;
        this.place.textContent = `${(start + 1).toLocaleString('en')}–${end.toLocaleString('en')} of ${matching.length.toLocaleString('en')}`;
      }
    }
  }

  for (const root of document.querySelectorAll('[data-list]')) new List(root);
  for (const box of document.querySelectorAll('.controls[hidden]')) box.hidden = false;

  const closed = [];
  addEventListener('beforeprint', () => {
    for (const details of document.querySelectorAll('details:not([open])')) {
      closed.push(details);
      details.open = true;
    }
  });
  addEventListener('afterprint', () => {
    for (const details of closed.splice(0)) details.open = false;
  });
})();
