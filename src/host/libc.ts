import koffi from 'koffi';
import { errnoName, systemError } from './errno.js';
import { callOnThread } from './native-call.js';
import { enterNative, leaveNative } from './native-gate.js';

/**
 * The system calls that neither Node nor fs-ext reaches. Each function here is one call: it returns what the call
 * returns, and throws a DiskError with the errno where the call says -1.
 */
const libc = koffi.load(null);

type Result = number | bigint;

/** Declares a call, looked up when it is first made: no libc has them all. */
function declare(prototype: string) {
  let found: ReturnType<typeof libc.func> | undefined;
  const call = () => {
    found ??= libc.func(prototype);
    return found;
  };
  const name = /(\w+)\(/.exec(prototype)?.[1] ?? prototype;
  const failed = (what: string) => systemError(`${name} ${what}`, errnoName(koffi.errno()));
  return {
    now(what: string, ...args: unknown[]): Result {
      enterNative();
      try {
        const result: Result = call()(...args);
        if (result === -1) throw failed(what);
        return result;
      } finally {
        leaveNative();
      }
    },
    /** The raw result, or minus the error number. */
    raw(...args: unknown[]): Result {
      enterNative();
      try {
        const result: Result = call()(...args);
        return result === -1 ? -koffi.errno() : result;
      } finally {
        leaveNative();
      }
    },
    async later(what: string, ...args: unknown[]): Promise<Result> {
      const check = (result: Result) => {
        if (result === -1) throw failed(what);
      };
      return callOnThread(call(), args, { check });
    },
  };
}

const calls = {
  lseek: declare('int64_t lseek(int fd, int64_t offset, int whence)'),
  pwrite: declare('int64_t pwrite(int fd, const void *from, size_t length, int64_t offset)'),
  preadv2: declare('int64_t preadv2(int fd, const void *iov, int count, int64_t offset, int flags)'),
  fallocate: declare('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
  memfdCreate: declare('int memfd_create(const char *name, unsigned int flags)'),
  ftruncate: declare('int ftruncate(int fd, int64_t length)'),
  fcntl: declare('int fcntl(int fd, int command, void *argument)'),
  fcntlNumber: declare('int fcntl(int fd, int command, long argument)'),
  flock: declare('int flock(int fd, int operation)'),
  mlockall: declare('int mlockall(int flags)'),
  munlockall: declare('int munlockall()'),
  syncfs: declare('int syncfs(int fd)'),
  ioctl: declare('int ioctl(int fd, unsigned long request, void *argument)'),
  ioctlNumber: declare('int ioctl(int fd, unsigned long request, long argument)'),
  statx: declare('int statx(int dir, const char *path, int flags, unsigned int mask, void *buffer)'),
  futimens: declare('int futimens(int fd, const int64_t *times)'),
  openat: declare('int openat(int dir, const char *name, int flags, uint32_t mode)'),
  mkdirat: declare('int mkdirat(int dir, const char *name, uint32_t mode)'),
  mknodat: declare('int mknodat(int dir, const char *name, uint32_t mode, uint64_t device)'),
  symlinkat: declare('int symlinkat(const char *target, int dir, const char *name)'),
  unlinkat: declare('int unlinkat(int dir, const char *name, int flags)'),
  fchownat: declare('int fchownat(int dir, const char *name, uint32_t uid, uint32_t gid, int flags)'),
  utimensat: declare('int utimensat(int dir, const char *name, const int64_t *times, int flags)'),
  linkat: declare('int linkat(int fromDir, const char *from, int toDir, const char *to, int flags)'),
  renameat2: declare('int renameat2(int fromDir, const char *from, int toDir, const char *to, unsigned int flags)'),
  copyFileRange: declare(
    'int64_t copy_file_range(int from, _Inout_ int64_t *fromOffset, int to, _Inout_ int64_t *toOffset, size_t length, unsigned int flags)',
  ),
  fgetxattr: declare('int64_t fgetxattr(int fd, const char *name, void *value, size_t size)'),
  fsetxattr: declare('int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)'),
  setxattr: declare('int setxattr(const char *path, const char *name, const void *value, size_t size, int flags)'),
  flistxattr: declare('int64_t flistxattr(int fd, void *list, size_t size)'),
  syncFileRange: declare('int sync_file_range(int fd, int64_t offset, int64_t length, unsigned int flags)'),
  recv: declare('int64_t recv(int socket, void *into, size_t length, int flags)'),
  send: declare('int64_t send(int socket, const void *bytes, size_t length, int flags)'),
  sendmsg: declare('int64_t sendmsg(int socket, const void *header, int flags)'),
  sendfile: declare('int64_t sendfile(int socket, int file, _Inout_ int64_t *offset, size_t length)'),
  setsockopt: declare('int setsockopt(int socket, int level, int option, const void *value, uint32_t length)'),
  getsockopt: declare('int getsockopt(int socket, int level, int option, void *value, _Inout_ uint32_t *length)'),
  socket: declare('int socket(int domain, int type, int protocol)'),
  bind: declare('int bind(int socket, const void *address, uint32_t length)'),
  listen: declare('int listen(int socket, int backlog)'),
  socketpair: declare('int socketpair(int domain, int type, int protocol, void *descriptors)'),
  prctl: declare('int prctl(int option, unsigned long value, unsigned long a, unsigned long b, unsigned long c)'),
  poll: declare('int poll(_Inout_ void *descriptors, unsigned long count, int timeout)'),
  read: declare('int64_t read(int fd, void *into, size_t length)'),
  write: declare('int64_t write(int fd, const void *bytes, size_t length)'),
  dup2: declare('int dup2(int from, int to)'),
  eventfd: declare('int eventfd(unsigned int count, int flags)'),
  epollCreate: declare('int epoll_create1(int flags)'),
  epollControl: declare('int epoll_ctl(int epoll, int operation, int fd, void *event)'),
  epollWait: declare('int epoll_wait(int epoll, void *events, int most, int timeout)'),
  mount: declare(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *options)',
  ),
  umount: declare('int umount2(const char *target, int flags)'),
  recvmsg: declare('int64_t recvmsg(int socket, void *message, int flags)'),
} as const;

export type SystemCall = keyof typeof calls;

/** Makes a call and waits for it. `what` names its object for the error: `of a.img`. */
export function call(name: SystemCall, what: string, ...args: unknown[]): Result {
  return calls[name].now(what, ...args);
}

/** Makes a call on the thread pool. Buffers among the arguments must stay untouched until it settles. */
export function callLater(name: SystemCall, what: string, ...args: unknown[]): Promise<Result> {
  return calls[name].later(what, ...args);
}

/** Makes a call whose failure is an answer: the result, or minus the error number. */
export function tryCall(name: SystemCall, ...args: unknown[]): Result {
  return calls[name].raw(...args);
}

/** Where memory lies: for calls that take addresses in structures. */
export function addressOf(memory: Uint8Array): bigint {
  enterNative();
  try {
    return koffi.address(memory);
  } finally {
    leaveNative();
  }
}
