// Keys of runs, and the names in them, stand in paths as they are.

const inPath = /^[A-Za-z0-9\-._~!$&'()*+,;=:@]{1,200}$/;

export function name(what: string, value: string): string {
  if (!inPath.test(value) || value === '.' || value === '..') {
    throw new TypeError(`want a ${what} of 1 to 200 letters, digits and any of -._~!$&'()*+,;=:@, found ${JSON.stringify(value.slice(0, 80))}`);
  }
  return value;
}

export function runPath(key: string, rest = ''): string {
  if (key.startsWith('run_')) throw new TypeError('want the key of a run, and not its ID: a key does not begin with run_');
  return `/v1/runs/${name('key', key)}${rest}`;
}

export function evidenceID(id: string): string {
  if (!/^ev_[A-Za-z0-9_-]{43}$/.test(id)) throw new TypeError(`want an evidence ID, found ${JSON.stringify(id.slice(0, 80))}`);
  return id;
}
