// Which functions a static program calls, in the order of their first calls.
//   calls ADDRESSES OUT PROGRAM [ARG..]
// ADDRESSES has the address of a function in hexadecimal on each line; OUT gets a line for each first call, in the
// process that was started ("0 ADDRESS") and in its copies ("1 ADDRESS"). Each function begins with a breakpoint that is
// taken away when it is hit (ptrace(2)). A copy that maps the program anew (crates/sys/src/sealed.rs) gets them again.
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BREAKPOINT = 0xcc, PROBES = 40 };
static unsigned long *function, count, start, size;
static unsigned char *text, *broken;

static void die(const char *what) { perror(what); exit(1); }

static long place_of(unsigned long address) {
  long low = 0, high = (long)count - 1;
  while (low <= high) {
    long middle = (low + high) / 2;
    if (function[middle] == address) return middle;
    if (function[middle] < address) low = middle + 1; else high = middle - 1;
  }
  return -1;
}

static int by_value(const void *a, const void *b) {
  unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;
  return x < y ? -1 : x > y;
}

// Reads the program's executable segment, and where functions begin in it.
static void read_program(const char *path, const char *list) {
  int program = open(path, O_RDONLY);
  Elf64_Ehdr header; Elf64_Phdr segment;
  if (program < 0 || pread(program, &header, sizeof header, 0) != sizeof header) die(path);
  for (int i = 0; i < header.e_phnum && !size; i++) {
    if (pread(program, &segment, sizeof segment, header.e_phoff + i * sizeof segment) != sizeof segment) die(path);
    if (segment.p_type == PT_LOAD && segment.p_flags & PF_X) start = segment.p_vaddr, size = segment.p_filesz;
  }
  text = malloc(size), broken = malloc(size);
  if (!text || !broken || pread(program, text, size, segment.p_offset) != (ssize_t)size) die(path);
  close(program);
  memcpy(broken, text, size);
  FILE *lines = fopen(list, "r");
  if (!lines) die(list);
  unsigned long address, room = 0;
  while (fscanf(lines, "%lx", &address) == 1) {
    if (address < start || address >= start + size) continue;
    if (count == room && !(function = realloc(function, (room = room * 2 + 1024) * sizeof *function))) die("memory");
    function[count++] = address, broken[address - start] = BREAKPOINT;
  }
  fclose(lines);
  if (count <= PROBES) { fprintf(stderr, "%s: too few functions\n", list); exit(1); }
  qsort(function, count, sizeof *function, by_value);
}

static int memory_of(int pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/mem", pid);
  return open(path, O_RDWR);
}

static void put_breakpoints(int memory) {
  for (unsigned long done = 0; done < size;) {
    ssize_t written = pwrite(memory, broken + done, size - done, start + done);
    if (written <= 0) return;
    done += written;
  }
}

// Whether it runs our program, without breakpoints at functions that have not been called in any process.
static int is_mapped_anew(int memory, const char *called) {
  int missing = 0;
  for (unsigned long i = 1; i <= PROBES; i++) {
    unsigned long probe = count / (PROBES + 1) * i; unsigned char byte;
    if (pread(memory, &byte, 1, function[probe]) != 1) return 0;
    if (byte != BREAKPOINT && byte != text[function[probe] - start]) return 0;
    missing |= byte != BREAKPOINT && !called[probe];
  }
  return missing;
}

static int may_map(unsigned long number) { return number == SYS_mmap || number == SYS_mremap || number == SYS_madvise; }

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  read_program(argv[3], argv[1]);
  FILE *out = fopen(argv[2], "w");
  char *called = calloc(count, 1);
  if (!out || !called) die(argv[2]);
  int first = fork(), pid, status, has_begun = 0, code = 1;
  if (first < 0) die("fork");
  if (!first) { ptrace(PTRACE_TRACEME, 0, 0, 0); raise(SIGSTOP); execv(argv[3], argv + 3); _exit(127); }
  waitpid(first, &status, 0);
  ptrace(PTRACE_SETOPTIONS, first, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK
                                          | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE);
  ptrace(PTRACE_SYSCALL, first, 0, 0);
  while ((pid = waitpid(-1, &status, __WALL)) > 0) {
    if (!WIFSTOPPED(status)) {
      if (pid == first) code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
      continue;
    }
    int signal = WSTOPSIG(status), event = status >> 16, memory = memory_of(pid);
    struct user_regs_struct registers;
    ptrace(PTRACE_GETREGS, pid, 0, &registers);
    long place = signal == SIGTRAP && !event ? place_of(registers.rip - 1) : -1;
    if (event == PTRACE_EVENT_EXEC && pid == first && !has_begun) {
      has_begun = 1, put_breakpoints(memory);
    } else if (signal == (SIGTRAP | 0x80) && has_begun && may_map(registers.orig_rax)) {
      if (is_mapped_anew(memory, called)) put_breakpoints(memory);
    } else if (place >= 0) {
      called[place] = 1;
      fprintf(out, "%d %lx\n", pid != first, function[place]);
      if (pwrite(memory, text + (function[place] - start), 1, function[place]) != 1) die("breakpoint");
      registers.rip--;
      ptrace(PTRACE_SETREGS, pid, 0, &registers);
    }
    close(memory);
    int is_ours = event || signal == SIGTRAP || signal == (SIGTRAP | 0x80) || signal == SIGSTOP;
    ptrace(PTRACE_SYSCALL, pid, 0, is_ours ? 0 : signal);
  }
  return fclose(out) || code;
}
