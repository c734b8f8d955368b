// Has what listens in this process do so on loopback alone, and print where:
// node --import ./loopback.mjs SERVER
import { Server } from 'node:http';

const listen = Server.prototype.listen;
Server.prototype.listen = function (port, ...rest) {
  const done = rest.find((f) => typeof f === 'function');
  return listen.call(this, 0, '127.0.0.1', () => {
    console.log(`LISTENING http://127.0.0.1:${this.address().port}`);
    done?.();
  });
};
