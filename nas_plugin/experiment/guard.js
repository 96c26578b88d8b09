'use strict';
// Loaded before NNI's manager (NODE_OPTIONS="--require …/guard.js"); changes no file of NNI.
//
// The manager has no notion of a host to listen on, of a password or of a foreign web page. This
// file gives it the first and takes the others away:
//   * servers listen on the loopback address only, unless NAS_PLUGIN_LISTEN names another;
//   * requests with a foreign Host or Origin, from another site, with a climbing path, or with a
//     body that a plain HTML form could send are answered 403; so are such WebSocket upgrades;
//   * the TensorBoard that the portal starts follows the same address;
//   * each trial gets the parameters that it was made for (attribution.js);
//   * a tuner may need long to start (slow_start.js);
//   * the process, exit code and signal of each trial go to <experiment>/nas_plugin/exits.jsonl,
//     because NNI's own database keeps neither.

const childProcess = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');

require('./attribution.js');
require('./slow_start.js');

const LOOPBACK = '127.0.0.1';
const address = process.env.NAS_PLUGIN_LISTEN || LOOPBACK;
const isOpen = address !== LOOPBACK;
// Trials and tuners inherit the environment: they are told of the guard, and do not load it.
delete process.env.NODE_OPTIONS;
process.env.NAS_PLUGIN_GUARD = address;

// --- where the servers listen -----------------------------------------------------------------

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  if (args[0] !== null && typeof args[0] === 'object' && !Array.isArray(args[0])) {
    if (args[0].path === undefined) args[0] = { ...args[0], host: address };
  } else if (typeof args[0] === 'number' || /^\d+$/.test(String(args[0]))) {
    if (typeof args[1] === 'string') args[1] = address;
    else args.splice(1, 0, address);
  }
  return listen.apply(this, args);
};

// --- which requests are answered --------------------------------------------------------------

const LOCAL_NAMES = new Set(['localhost', '127.0.0.1', '[::1]']);
const extraNames = (process.env.NAS_PLUGIN_HOSTS || '').toLowerCase().split(',').filter(Boolean);

function isOwnName(authority) {
  const parts = /^(\[[0-9a-f:.]+\]|[^:@/\\?#\s]+)(?::\d+)?$/.exec(String(authority).toLowerCase());
  if (parts === null) return false;
  if (LOCAL_NAMES.has(parts[1]) || extraNames.includes(parts[1])) return true;
  // A numeric address cannot be rebound by a foreign name server.
  return isOpen && net.isIP(parts[1].replace(/^\[|\]$/g, '')) !== 0;
}

function climbs(url) {
  let text = String(url).split('?')[0];
  if (/%(2f|5c|00|25)/i.test(text)) return true;
  try {
    text = decodeURIComponent(text);
  } catch {
    return true;
  }
  return !text.startsWith('/') || /[\\\0]/.test(text) || text.split('/').includes('..');
}

function refusal(request) {
  const { headers, method } = request;
  if (!isOwnName(headers.host)) return `the host ${headers.host}`;
  if (headers.origin !== undefined) {
    const origin = /^https?:\/\/(.+)$/.exec(headers.origin);
    if (origin === null || origin[1].toLowerCase() !== headers.host.toLowerCase()) {
      return `the origin ${headers.origin}`;
    }
  }
  const opensPage = method === 'GET' && headers['sec-fetch-mode'] === 'navigate';
  if (headers['sec-fetch-site'] === 'cross-site' && !opensPage) return 'another site';
  if (climbs(request.url)) return `the path ${request.url}`;
  const hasBody = Number(headers['content-length'] || 0) > 0 || 'transfer-encoding' in headers;
  const isJson = /^application\/json\s*(;|$)/i.test(headers['content-type'] || '');
  if (method === 'POST' && !isJson) return `a ${method} that is not JSON`;
  if (hasBody && !isJson) return `a ${method} with a body that is not JSON`;
  return null;
}

const emit = http.Server.prototype.emit;
http.Server.prototype.emit = function (event, request, peer, ...rest) {
  if (['request', 'checkContinue', 'checkExpectation', 'upgrade', 'connect'].includes(event)) {
    const reason = event === 'connect' ? 'a proxy request' : refusal(request);
    if (reason !== null) {
      console.error(`nas_plugin guard: refused ${reason}`);
      if (event === 'upgrade' || event === 'connect') {
        peer.on('error', () => peer.destroy());
        peer.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      } else {
        request.resume();
        peer.writeHead(403, { 'Content-Type': 'text/plain', Connection: 'close' });
        peer.end(`nas_plugin guard: refused ${reason.replace(/[^\x20-\x7e]/g, '?')}\n`);
      }
      return true;
    }
    if (event === 'request') {
      peer.setHeader('X-Frame-Options', 'DENY');
      peer.setHeader('X-Content-Type-Options', 'nosniff');
      peer.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
    }
  }
  return emit.call(this, event, request, peer, ...rest);
};

// --- what the manager starts ------------------------------------------------------------------

function recordTrial(child, env) {
  // <experiment>/environments/<environment>/trials/<trial>
  const root = path.resolve(env.NNI_OUTPUT_DIR, '..', '..', '..', '..');
  const file = path.join(root, 'nas_plugin', 'exits.jsonl');
  const write = (entry) => {
    try {
      fs.mkdirSync(path.dirname(file), { recursive: true });
      const record = { trial: env.NNI_TRIAL_JOB_ID, pid: child.pid, time: Date.now() / 1000 };
      fs.appendFileSync(file, `${JSON.stringify({ ...record, ...entry })}\n`);
    } catch (error) {
      console.error(`nas_plugin guard: cannot write ${file}: ${error.message}`);
    }
  };
  write({ event: 'start' });
  const kill = child.kill;
  child.kill = function (signal) {
    write({ event: 'stop', signal: signal ?? 'SIGTERM' });
    return kill.call(this, signal);
  };
  child.prependListener('exit', (code, signal) => write({ event: 'exit', code, signal }));
}

const spawn = childProcess.spawn;
childProcess.spawn = function (command, args, options) {
  let given = [command, args, options];
  if (!isOpen && JSON.stringify(given.slice(0, 2)).includes('--bind_all')) {
    const closed = (text) => text.replace('--bind_all', `--host=${LOOPBACK}`);
    given = [closed(command), Array.isArray(args) ? args.map(closed) : args, options];
  }
  const child = spawn.apply(this, given);
  const env = (Array.isArray(args) ? options : args)?.env;
  if (env && env.NNI_TRIAL_JOB_ID && env.NNI_OUTPUT_DIR && child.pid) recordTrial(child, env);
  return child;
};
