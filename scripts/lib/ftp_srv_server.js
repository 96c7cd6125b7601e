// ftp-srv with its defaults and one user: what scripts/servers/ftp-srv runs.
'use strict';

const fs = require('fs');
const { parseArgs } = require('util');

const { values } = parseArgs({
  options: {
    module: { type: 'string' },
    listen: { type: 'string' },
    port: { type: 'string' },
    root: { type: 'string' },
    user: { type: 'string' },
    'password-file': { type: 'string' },
    uid: { type: 'string' },
    gid: { type: 'string' },
    umask: { type: 'string', default: '022' },
    'read-only': { type: 'boolean', default: false },
    'max-clients': { type: 'string', default: '300' },
    'passive-ports': { type: 'string', default: '1024:65535' },
  },
});
const { FtpSrv } = require(values.module);
const WRITES = ['STOR', 'STOU', 'APPE', 'DELE', 'MKD', 'RMD', 'RNFR', 'RNTO', 'SITE'];

const password = fs.readFileSync(values['password-file'], 'ascii');
const [low, high] = values['passive-ports'].split(':').map(Number);
if (process.getuid() === 0) {
  process.setgroups([]);
  process.setgid(Number(values.gid));
  process.setuid(Number(values.uid));
}
process.umask(parseInt(values.umask, 8));

const silent = () => {};
const log = { trace: silent, debug: silent, info: silent, warn: silent, error: console.error, child: () => log };
const server = new FtpSrv({
  log,
  url: `ftp://${values.listen}:${values.port}`,
  pasv_url: values.listen,
  pasv_min: low,
  pasv_max: high,
  blacklist: values['read-only'] ? WRITES : [],
});
server.on('connect', ({ connection }) => {
  // It has no such limit of its own.
  if (Object.keys(server.connections).length > Number(values['max-clients'])) {
    connection.commandSocket.end('421 Too many connections.\r\n');
  }
});
server.on('login', ({ username, password: given }, resolve, reject) => {
  if (username === values.user && given === password) resolve({ root: values.root });
  else reject(new Error('wrong user or password'));
});
server.on('client-error', ({ error }) => console.error(error));
server.listen();
