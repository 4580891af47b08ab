# One suite for everything that is checked on text: IR in, IR or messages out.
import lit.formats

config.name = "lorac"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".toml", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = config.lorac_source_dir + "/tests/lit"
config.test_exec_root = config.lorac_binary_dir + "/tests/lit"
config.environment["PATH"] = ":".join([config.lorac_binary_dir, config.llvm_tools_dir, config.environment["PATH"]])
config.environment["NO_COLOR"] = "1"
config.substitutions.append(("%root", config.lorac_source_dir))
config.substitutions.append(("%build", config.lorac_binary_dir))
config.substitutions.append(("%mlir_include", config.mlir_include_dir))
