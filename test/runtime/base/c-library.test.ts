import t from 'tap';
import { lastErrno, openCLibrary } from '../../../runtime/base/c-library.ts';
import { errnoName } from '../../../runtime/base/errno.ts';

t.test('openCLibrary() calls functions by name and tells why they fail', async (t) => {
  const declare = openCLibrary();
  const getpid = declare('getpid', 'int', []);
  t.equal(getpid()(), process.pid);
  t.equal(getpid(), getpid(), 'declared once');
  t.equal(declare('close', 'int', ['int'])()(-1), -1);
  t.equal(errnoName(lastErrno()), 'EBADF');
  t.doesNotThrow(() => declare('no_such_function', 'int', []), 'looked up when it is called');
  t.throws(() => declare('no_such_function', 'int', [])());
});

t.test('errnoName() of numbers without a name', async (t) => {
  t.equal(errnoName(2), 'ENOENT');
  t.equal(errnoName(4000), 'errno 4000');
});
