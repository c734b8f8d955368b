'use strict';
// The page: it takes files, hands them to a worker, and shows the answer. It
// decides nothing, and puts text on the page as text alone.
(() => {
  const at = (id) => document.getElementById(id);
  const boxes = { evidence: [], trust: [], contract: [] };
  const policy = globalThis.trustedTypes
    ? trustedTypes.createPolicy('verifier', { createScriptURL: (url) => { if (url !== workerURL) throw new TypeError('no script of this page'); return url; } })
    : { createScriptURL: (url) => url };
  const workerURL = URL.createObjectURL(new Blob([at('worker').textContent], { type: 'text/javascript' }));
  let worker = null, waiting = 0, saved = null;

  // The program is unpacked and compiled once, for all workers.
  const program = (async () => {
    const data = at('program');
    const bytes = Uint8Array.from(atob(data.textContent), (c) => c.charCodeAt(0));
    data.remove();
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    return WebAssembly.compile(await new Response(unpacked).arrayBuffer());
  })();
  program.then(() => { if (!worker) say('Ready. Nothing that you choose leaves this page.'); }, (e) => failed('This browser cannot run the verifier: ' + e));

  // say is heard by those who do not see the page; what is heard alone is seen elsewhere.
  const say = (text, alone) => { at('status').textContent = text; at('status').classList.toggle('hidden', !!alone); };

  // What a terminal or a browser would hide or turn around is made visible in names.
  const visible = (s) => s.replace(/[\p{C}\p{Zl}\p{Zp}\\]/gu, (c) => (c === '\\' ? '\\\\' : `\\u{${c.codePointAt(0).toString(16)}}`));

  // clear takes away the answer, and ends the work on the next one. It comes at once
  // whatever changes: no answer stands beside files or questions that it is not of.
  function clear() {
    if (worker) worker.terminate();
    worker = null;
    clearTimeout(waiting);
    at('answer').replaceChildren();
    at('after').hidden = true;
    at('json').textContent = '';
    if (saved) URL.revokeObjectURL(saved);
    saved = null;
    at('save').removeAttribute('href');
    document.title = 'Verify evidence';
    document.body.dataset.outcome = '';
    say('');
  }

  function failed(why) {
    clear();
    at('answer').replaceChildren(build(['section', { class: 'verdict none' }, ['h2', {}, 'Internal error'], ['p', { class: 'answer' }, 'Nothing was decided. ' + why]]));
    document.body.dataset.outcome = 'failed';
    say('Internal error. Nothing was decided.', true);
  }

  async function verify() {
    clear();
    if (!boxes.evidence.length) {
      if (boxes.trust.length) say('Now choose what you were handed.');
      return;
    }
    say('Verifying …');
    document.body.dataset.outcome = 'working';
    const own = worker = new Worker(policy.createScriptURL(workerURL));
    own.onmessage = ({ data }) => {
      if (worker !== own) return;
      if (data.failed !== undefined) failed(data.failed);
      else if (data.answer !== undefined) {
        try { show(JSON.parse(data.answer)); } catch (e) { failed(e); }
      } else say(`Reading ${visible(data.name)}: ${Math.round(100 * data.read / Math.max(data.size, 1))} % of ${bytes(data.size)}`);
    };
    own.onerror = (e) => { e.preventDefault(); if (worker === own) failed(e.message || 'The worker failed.'); };
    const request = { ...boxes, run: at('run').value.trim(), subject: at('subject').value.trim() };
    try {
      const compiled = await program;
      if (worker === own) own.postMessage({ program: compiled, request });
    } catch (e) {
      if (worker === own) failed(e);
    }
  }

  function show(answer) {
    clear();
    at('answer').replaceChildren(build(answer.shown));
    if (answer.report) {
      at('json').textContent = answer.report;
      saved = URL.createObjectURL(new Blob([answer.report], { type: 'application/json' }));
      at('save').href = saved;
      at('after').hidden = false;
    }
    document.title = answer.word + ': verify evidence';
    document.body.dataset.outcome = answer.outcome || 'none';
    say(answer.word + '. ' + answer.says, true);
    if (answer.report) at('answer').querySelector('.verdict').scrollIntoView({ block: 'nearest' });
  }

  // build makes elements of the verifier's tree: those that a report has, with the
  // attributes that it has, and nothing else.
  const elements = new Set('a blockquote br dd div dl dt figcaption figure h2 h3 h4 li nav p section span strong table tbody td th thead tr ul'.split(' '));
  const attributes = new Set(['class', 'id', 'scope', 'aria-hidden', 'aria-label', 'aria-labelledby']);
  function build(node) {
    if (typeof node === 'string') return document.createTextNode(node);
    const [name, attrs, ...kids] = node;
    if (!elements.has(name)) throw new TypeError('no element of a report: ' + name);
    const e = document.createElement(name);
    for (const [key, value] of Object.entries(attrs)) {
      if (!attributes.has(key) && !(key === 'href' && /^#[\w-]+$/.test(value))) throw new TypeError('no attribute of a report: ' + key);
      e.setAttribute(key, value);
    }
    for (const kid of kids) e.append(build(kid));
    return e;
  }

  function bytes(n) {
    if (n < 1000) return n + ' bytes';
    const unit = Math.min(Math.floor(Math.log10(n) / 3), 4);
    return (n / 1000 ** unit).toFixed(1) + ' ' + ['', 'kB', 'MB', 'GB', 'TB'][unit];
  }

  // choose puts files into a box, in place of those that were there.
  function choose(box, list) {
    boxes[box] = list;
    at(box + '-names').replaceChildren(...boxes[box].map((f) => {
      const li = document.createElement('li');
      li.textContent = `${visible(f.name)}, ${bytes(f.size)}`;
      return li;
    }));
    verify();
  }

  for (const box of Object.keys(boxes)) {
    const input = at(box), zone = input.closest('.box');
    // Emptied, so that the same name chosen again is a choice: the file may be another.
    input.addEventListener('change', () => { const list = [...input.files]; input.value = ''; choose(box, list); });
    zone.addEventListener('dragover', (e) => { e.preventDefault(); e.stopPropagation(); e.dataTransfer.dropEffect = 'copy'; zone.classList.add('over'); });
    zone.addEventListener('dragleave', () => zone.classList.remove('over'));
    zone.addEventListener('drop', (e) => {
      e.preventDefault();
      e.stopPropagation();
      zone.classList.remove('over');
      choose(box, [...e.dataTransfer.files].slice(0, input.multiple ? undefined : 1));
    });
  }
  // A file that is dropped beside the boxes is not opened by the browser in place of
  // the page.
  addEventListener('dragover', (e) => e.preventDefault());
  addEventListener('drop', (e) => { e.preventDefault(); say('Drop it on a box: what you were handed, or whom you trust.'); });
  for (const id of ['run', 'subject']) {
    at(id).addEventListener('input', () => { clear(); waiting = setTimeout(verify, 500); });
  }
  at('again').addEventListener('click', () => {
    clear();
    for (const box of Object.keys(boxes)) {
      boxes[box] = [];
      at(box + '-names').replaceChildren();
    }
    at('run').value = at('subject').value = '';
    at('evidence').focus();
  });
  at('ask').addEventListener('submit', (e) => e.preventDefault());
  at('ask').hidden = false;
})();
