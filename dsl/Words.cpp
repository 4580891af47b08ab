#include "dsl/Words.h"

#include "dsl/Spec.h"

#include <algorithm>
#include <iterator>

namespace lorac::dsl {

static constexpr ForeignWord keys[] = {
    // model
    {"base_model", "model.source"},
    {"base_model_name_or_path", "model.source"},
    {"model_name_or_path", "model.source"},
    {"model_name", "model.source"},
    {"model_path", "model.source"},
    {"pretrained_model_name_or_path", "model.source"},
    {"model_type", "model.architecture"},
    {"arch", "target.arch"},
    // quantization
    {"load_in_4bit", "quantization.format = \"nf4\""},
    {"bnb_4bit_quant_type", "quantization.format"},
    {"quant_type", "quantization.format"},
    {"bnb_4bit_use_double_quant", "quantization.double_quant"},
    {"use_double_quant", "quantization.double_quant"},
    {"double_quantization", "quantization.double_quant"},
    {"bnb_4bit_compute_dtype", "quantization.compute_dtype"},
    {"torch_dtype", "quantization.compute_dtype"},
    {"dtype", "quantization.compute_dtype"},
    {"bf16", "quantization.compute_dtype = \"bf16\""},
    {"fp16", "quantization.compute_dtype = \"f16\""},
    {"blocksize", "quantization.block_size"},
    {"load_in_8bit", ""},
    // adapter
    {"peft_type", "adapter.method"},
    {"adapter_type", "adapter.method"},
    {"lora_r", "adapter.r"},
    {"lora_rank", "adapter.r"},
    {"rank", "adapter.r"},
    {"alpha", "adapter.lora_alpha"},
    {"scaling", "adapter.lora_alpha"},
    {"dropout", "adapter.lora_dropout"},
    {"rslora", "adapter.use_rslora"},
    {"dora", "adapter.use_dora"},
    {"peft_use_dora", "adapter.use_dora"},
    {"lora_target", "adapter.target_modules"},
    {"lora_target_modules", "adapter.target_modules"},
    {"lora_modules", "adapter.target_modules"},
    {"lora_target_linear", "adapter.target_modules = \"all-linear\""},
    {"targets", "adapter.target_modules"},
    {"rank_pattern", "adapter.rule"},
    {"alpha_pattern", "adapter.rule"},
    {"rules", "adapter.rule"},
    {"lora_model_dir", "adapter.init_from"},
    {"adapter_path", "adapter.init_from"},
    {"resume_from_adapter", "adapter.init_from"},
    {"loraplus_ratio", "adapter.loraplus.loraplus_lr_ratio"},
    {"loraplus_lr_ratio", "adapter.loraplus.loraplus_lr_ratio"},
    {"lr_ratio", "adapter.loraplus.loraplus_lr_ratio"},
    {"loraplus_lr_embedding", ""},
    {"loraplus_weight_decay", ""},
    {"init_r", "adapter.adalora.init_r"},
    {"target_r", "adapter.adalora.target_r"},
    {"target_rank", "adapter.adalora.target_r"},
    {"init_warmup", "adapter.adalora.tinit"},
    {"initial_warmup", "adapter.adalora.tinit"},
    {"final_warmup", "adapter.adalora.tfinal"},
    {"mask_interval", "adapter.adalora.deltaT"},
    {"reg_orth_coef", "adapter.adalora.orth_reg_weight"},
    {"init_lora_weights", ""},
    {"modules_to_save", ""},
    {"lora_modules_to_save", ""},
    {"exclude_modules", ""},
    {"layers_to_transform", ""},
    {"layers_pattern", ""},
    {"loftq_config", ""},
    {"bias", ""},
    {"lora_bias", ""},
    // optimizer
    {"optim", "optimizer.name"},
    {"optimizer_type", "optimizer.name"},
    {"lr", "optimizer.learning_rate"},
    {"adam_epsilon", "optimizer.eps"},
    {"epsilon", "optimizer.eps"},
    {"adam_beta1", "optimizer.betas"},
    {"adam_beta2", "optimizer.betas"},
    {"beta1", "optimizer.betas"},
    {"beta2", "optimizer.betas"},
    {"wd", "optimizer.weight_decay"},
    {"grad_clip", "optimizer.max_grad_norm"},
    {"clip_grad_norm", "optimizer.max_grad_norm"},
    {"gradient_clipping", "optimizer.max_grad_norm"},
    {"gradient_clip_val", "optimizer.max_grad_norm"},
    // schedule
    {"lr_scheduler", "schedule.name"},
    {"lr_scheduler_type", "schedule.name"},
    {"scheduler", "schedule.name"},
    {"warmup", "schedule.warmup_steps"},
    {"num_warmup_steps", "schedule.warmup_steps"},
    {"lr_warmup_steps", "schedule.warmup_steps"},
    {"min_lr", "schedule.min_lr_ratio"},
    {"min_lr_rate", "schedule.min_lr_ratio"},
    {"cosine_min_lr_ratio", "schedule.min_lr_ratio"},
    // data
    {"datasets", "[[data]]"},
    {"dataset", "[[data]]"},
    {"data_path", "data.path"},
    {"data_files", "data.path"},
    {"dataset_path", "data.path"},
    {"train_file", "data.path"},
    {"file", "data.path"},
    {"type", "data.format"},
    {"val_set_size", "data.eval_fraction"},
    {"test_size", "data.eval_fraction"},
    {"validation_split", "data.eval_fraction"},
    {"delimiter", "data.separator"},
    {"chat_template", ""},
    {"train_on_inputs", ""},
    {"text_field", ""},
    {"dataset_text_field", ""},
    // train
    {"training", "[train]"},
    {"trainer", "[train]"},
    {"lora", "[adapter]"},
    {"peft", "[adapter]"},
    {"loraplus", "[adapter.loraplus]"},
    {"adalora", "[adapter.adalora]"},
    {"quant", "[quantization]"},
    {"lr_schedule", "[schedule]"},
    {"output", "train.output_dir"},
    {"out_dir", "train.output_dir"},
    {"save_dir", "train.output_dir"},
    {"max_steps", "train.steps"},
    {"num_steps", "train.steps"},
    {"total_steps", "train.steps"},
    {"total_step", "train.steps"},
    {"iters", "train.steps"},
    {"num_epochs", "train.epochs"},
    {"num_train_epochs", "train.epochs"},
    {"epoch", "train.epochs"},
    {"micro_batch_size", "train.batch_size"},
    {"per_device_train_batch_size", "train.batch_size"},
    {"train_batch_size", "train.batch_size"},
    {"sequence_len", "train.max_length"},
    {"sequence_length", "train.max_length"},
    {"seq_len", "train.max_length"},
    {"seq_length", "train.max_length"},
    {"max_seq_len", "train.max_length"},
    {"max_seq_length", "train.max_length"},
    {"cutoff_len", "train.max_length"},
    {"model_max_length", "train.max_length"},
    {"context_length", "train.max_length"},
    {"sample_packing", "train.packing"},
    {"gradient_accumulation", "train.gradient_accumulation_steps"},
    {"grad_accumulation_steps", "train.gradient_accumulation_steps"},
    {"accumulation_steps", "train.gradient_accumulation_steps"},
    {"random_seed", "train.seed"},
    {"random_state", "train.seed"},
    {"evals_per_epoch", "train.eval_steps"},
    {"eval_interval", "train.eval_steps"},
    {"save_interval", "train.save_steps"},
    {"save_every", "train.save_steps"},
    {"keep_last", "train.save_total_limit"},
    {"keep_checkpoints", "train.save_total_limit"},
    {"max_checkpoints", "train.save_total_limit"},
    {"log_interval", "train.logging_steps"},
    {"gradient_checkpointing", "target.memory"},
    {"activation_checkpointing", "target.memory"},
    // target
    {"device_map", "target.device"},
    {"num_threads", "target.threads"},
    {"n_threads", "target.threads"},
    {"max_memory", "target.memory"},
    {"gpu_arch", "target.arch"},
};

const ForeignWord *foreignKey(std::string_view key) {
  auto it = std::find_if(std::begin(keys), std::end(keys),
                         [&](const ForeignWord &w) { return w.word == key; });
  return it == std::end(keys) ? nullptr : it;
}

std::string ourValue(std::string_view key, std::string_view value) {
  struct Theirs {
    std::string_view key, value, ours;
  };
  static constexpr Theirs theirs[] = {
      {"target.device", "gpu", "cuda"},
      {"target.device", "GPU", "cuda"},
      {"target.device", "nvidia", "cuda"},
      {"target.device", "cuda:0", "cuda"},
      {"schedule.name", "cosine_with_min_lr", "min_lr_ratio = 0.1"},
      {"optimizer.name", "adamw_torch", "adamw"},
      {"optimizer.name", "adamw_torch_fused", "adamw"},
      {"optimizer.name", "adamw_bnb_8bit", "adamw_8bit"},
      {"optimizer.name", "paged_adamw_8bit", "adamw_8bit"},
      {"optimizer.name", "lion_32bit", "lion"},
      {"optimizer.name", "paged_lion_32bit", "lion"},
      {"optimizer.name", "paged_lion_8bit", "lion_8bit"},
  };
  for (const auto &[layout, field, means] : AdapterSpec::methodKeys)
    if (key == "adapter.method" && value == layout.word)
      return std::string(layout.key) + " = true";
  auto it = std::find_if(std::begin(theirs), std::end(theirs),
                         [&](const Theirs &t) { return t.key == key && t.value == value; });
  return it == std::end(theirs) ? "" : std::string(it->ours);
}

bool isLaterValue(std::string_view key, std::string_view value) {
  struct Later {
    std::string_view key, value;
  };
  static constexpr Later later[] = {
      {"adapter.method", "ia3"},
      {"optimizer.name", "paged_adamw"},
      {"optimizer.name", "paged_adamw_32bit"},
      {"optimizer.name", "sgd"},
      {"optimizer.name", "adafactor"},
      {"schedule.name", "cosine_with_restarts"},
      {"schedule.name", "polynomial"},
      {"schedule.name", "inverse_sqrt"},
      {"schedule.name", "wsd"},
      {"quantization.format", "int8"},
      {"quantization.format", "gptq"},
      {"quantization.format", "awq"},
      {"data.format", "chat"},
      {"data.format", "messages"},
      {"data.format", "sharegpt"},
      {"data.format", "parquet"},
      {"target.device", "rocm"},
      {"target.device", "metal"},
  };
  return std::any_of(std::begin(later), std::end(later),
                     [&](const Later &l) { return l.key == key && l.value == value; });
}

} // namespace lorac::dsl
