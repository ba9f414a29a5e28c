# Run by testfixture, SQLite's own test program:
#
#   testfixture run.tcl TESTDIR list SUITE      prints the test files of a suite (veryquick, full, …)
#   testfixture run.tcl TESTDIR all             prints every test file
#   testfixture run.tcl TESTDIR run SUITE FILE  runs one of them as that suite would
#
# One process a file, unlike SQLite's own runner: a crash costs one file, and nothing that a test leaves
# behind in the process can make another fail.
lassign $argv folder verb suite file
set argv {}
set argv0 [file join $folder suite.test]

# permutations.test takes the folder from argv0, and defines the suites.
source [file join $folder permutations.test]

# Some tests run only where the default VFS is called "unix". The shim passes on everything that they
# look at, so with it they are told so. Each test gets an interpreter of its own.
if {[info exists env(LOCKSCOPE_SUITE)] && $env(LOCKSCOPE_SUITE) eq "shim"} {
  rename load_testfixture_extensions load_extensions
  proc load_testfixture_extensions {interp} {
    load_extensions $interp
    interp eval $interp {
      rename test_syscall real_test_syscall
      proc test_syscall {args} {
        if {$args eq "defaultvfs"} { return unix }
        uplevel 1 real_test_syscall $args
      }
    }
  }
}

switch $verb {
  list { set files [dict get $::testspec($suite) -files] }
  all { set files $::alltests }
  run {
    run_tests $suite {*}$::testspec($suite) -files [list $file]
    finish_test
  }
}
foreach f [lsort -unique $files] {
  if {[file tail $f] eq $f} { set f [file join $::testdir $f] }
  puts [file normalize $f]
}
exit 0
