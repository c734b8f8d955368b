
// The worker: what stands before this is wasm_exec.js, of the Go that compiled the
// program. It is made for one request, and is ended with it.
let answer, complaints = '';
const utf8 = new TextDecoder();
globalThis.fs.writeSync = (fd, bytes) => {
  complaints = (complaints + utf8.decode(bytes)).slice(0, 2000);
  return bytes.length;
};

const files = new FileReaderSync();
globalThis.readPart = (file, from, to) => {
  postMessage({ name: file.name, read: to, size: file.size });
  return new Uint8Array(files.readAsArrayBuffer(file.slice(from, to)));
};
globalThis.answered = (text) => { answer = text; };

// An answer counts once the program has ended as it should.
globalThis.onmessage = async ({ data }) => {
  globalThis.request = data.request;
  let code = 0;
  try {
    const go = new Go();
    go.exit = (n) => { code = n; };
    const instance = await WebAssembly.instantiate(data.program, go.importObject);
    await go.run(instance);
  } catch (e) {
    complaints += e;
    code = -1;
  }
  if (code !== 0 || answer === undefined) {
    postMessage({ failed: complaints || 'it ended without an answer' });
    return;
  }
  postMessage({ answer });
};
